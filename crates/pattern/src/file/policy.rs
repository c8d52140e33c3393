//! The policy: what holds for every pattern. It travels like a pattern, so that a replay decides as the live run did.

use super::{
    QuietHours,
    fields::{self, Fields},
    json,
    then::read_quiet_hours,
};
use crate::{
    finding::{Finding, Mark, Report},
    yaml,
};

/// The key of the policy on `journey.patterns`; no pattern's id begins with a dollar sign.
pub const POLICY_KEY: &str = "$policy";

/// What holds for every pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// New contacts allowed within [`Policy::cap_days`].
    pub cap_contacts: i32,
    /// Days over which contacts are counted.
    pub cap_days: i32,
    /// When no customer is contacted anew; a pattern's own quiet hours hold beside it.
    pub quiet_hours: Option<QuietHours>,
    /// IANA name of the zone of customers whose own is not known.
    pub time_zone: String,
    /// Share of customers, in percent, who never get an intervention, so that the whole can be measured.
    pub holdout: i32,
    /// Seed of that share.
    pub seed: String,
    /// The file as canonical JSON: what stands on `journey.patterns`.
    pub canonical: String,
}

impl Default for Policy {
    /// Three contacts in seven days, no quiet hours, no global holdout.
    fn default() -> Self {
        Self {
            cap_contacts: 3,
            cap_days: 7,
            quiet_hours: None,
            time_zone: "UTC".to_owned(),
            holdout: 0,
            seed: "global-1".to_owned(),
            canonical: r#"{"policy":1}"#.to_owned(),
        }
    }
}

/// Reads a policy: YAML, or the JSON that [`Policy::canonical`] holds. What is left out has its default.
///
/// # Errors
/// Every error of the file, sorted by position.
pub fn parse_policy(file: &str, text: &str) -> Result<Policy, Vec<Finding>> {
    let mut report = Report::new(file);
    let policy = read(text, &mut report);
    report.unless_errors(policy)
}

fn read(source: &str, report: &mut Report) -> Option<Policy> {
    let root = yaml::read(source, report)?;
    let mut policy = Policy {
        canonical: json(&root).to_string(),
        ..Policy::default()
    };
    let mut top = Fields::of(&root, "a policy", report)?;
    top.required("policy", report)
        .and_then(|node| fields::whole(node, "policy", 1, 1, report))?;
    let narrow = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    if let Some(node) = top.get("frequency_cap") {
        let mut cap = Fields::of(node, "frequency_cap", report)?;
        if let Some(node) = cap.required("contacts", report) {
            policy.cap_contacts = narrow(fields::whole(node, "contacts", 0, 1000, report)?);
        }
        if let Some(node) = cap.required("days", report) {
            policy.cap_days = narrow(fields::whole(node, "days", 1, 30, report)?);
        }
        cap.finish(report);
    }
    if let Some(node) = top.get("quiet_hours") {
        policy.quiet_hours = Some(read_quiet_hours(node, report)?);
    }
    if let Some(node) = top.get("time_zone") {
        let zone = fields::text(node, "time_zone", report)?;
        check_zone(&zone, node.at, report);
        policy.time_zone = zone;
    }
    if let Some(node) = top.get("holdout") {
        let mut holdout = Fields::of(node, "holdout", report)?;
        if let Some(node) = holdout.required("percent", report) {
            policy.holdout = narrow(fields::whole(node, "percent", 0, 50, report)?);
        }
        if let Some(node) = holdout.required("seed", report) {
            policy.seed = fields::text(node, "seed", report)?;
        }
        holdout.finish(report);
    }
    top.finish(report);
    Some(policy)
}

fn check_zone(zone: &str, at: Mark, report: &mut Report) {
    if jiff::tz::TimeZone::get(zone).is_err() {
        report.error(at, "value", format!("unknown time zone: found={zone}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_back_and_names_its_errors() {
        let text = "policy: 1\nfrequency_cap: { contacts: 2, days: 3 }\nquiet_hours: 21:00-08:00\n\
                    time_zone: Europe/Rome\nholdout: { percent: 5, seed: all-1 }\n";
        let policy = parse_policy("policy.yaml", text).expect("valid");
        assert_eq!((policy.cap_contacts, policy.cap_days, policy.holdout), (2, 3, 5));
        assert_eq!(parse_policy("again", &policy.canonical).expect("valid"), policy);
        assert_eq!(
            parse_policy("bare", "policy: 1").expect("valid"),
            Policy {
                canonical: r#"{"policy":1}"#.to_owned(),
                ..Policy::default()
            }
        );
        let place = |text: &str| {
            let findings = parse_policy("policy.yaml", text).expect_err("refused");
            (findings[0].line, findings[0].code)
        };
        assert_eq!(place("policy: 1\ntime_zone: Mars/Olympus\n"), (2, "value"));
        assert_eq!(place("policy: 1\nquiet_hour: 1\n"), (2, "unknown-key"));
        assert_eq!(place("policy: 1\nquiet_hours: 08:00-08:00\n"), (2, "value"));
    }
}
