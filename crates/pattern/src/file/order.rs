//! Steps that contradict each other, or the windows around them.

use super::{
    fields,
    when::{See, Step, When},
};
use crate::{
    finding::{Mark, Report},
    yaml::Node,
};

/// Reports what cannot be in a `sequence` or an `all`.
pub(super) fn check(when: &When, node: &Node, report: &mut Report) {
    if when.any_order {
        check_members(when, node, report);
    } else {
        check_order(when, report);
    }
    check_waits(when, report);
}

fn blocked<'a>(when: &'a When, see: &'a See) -> Option<&'a String> {
    see.types
        .first()
        .filter(|_| see.types.iter().all(|kind| when.until.contains(kind)))
}

fn discards(at: Mark, kind: &str, report: &mut Report) {
    let message = format!("until discards what this step needs: type={kind}");
    report.error(at, "until-blocks", message);
}

fn check_order(when: &When, report: &mut Report) {
    for (index, step) in when.steps.iter().enumerate() {
        let next_is_see = matches!(when.steps.get(index + 1), Some(Step::See(_)));
        match step {
            Step::Guard(absent) | Step::Wait(absent, _) if index == 0 => {
                report.error(
                    absent.at,
                    "absent-first",
                    "a sequence cannot begin with absent: nothing starts the wait",
                );
            }
            Step::Guard(absent) if index + 1 == when.steps.len() => {
                report.error(absent.at, "absent-open", "absent needs for: no see follows");
            }
            Step::Guard(absent) if !next_is_see => {
                report.error(
                    absent.at,
                    "guard-position",
                    "absent without for must stand directly before a see",
                );
            }
            Step::Guard(_) | Step::Wait(..) => {}
            Step::See(see) => {
                if let Some(within) = see.within {
                    if index == 0 {
                        report.error(see.at, "step-within", "first step has no step before it");
                    } else if within > when.within {
                        report.error(see.at, "step-within", "step within exceeds within");
                    }
                }
                let guarded = index > 0 && matches!(when.steps[index - 1], Step::Guard(_));
                if see.across.is_some() && guarded {
                    report.error(
                        see.at,
                        "across-position",
                        "across cannot stand directly behind an absent without for",
                    );
                }
                if let Some(kind) = blocked(when, see).filter(|_| index > 0 || see.times > 1) {
                    discards(see.at, kind, report);
                }
            }
        }
    }
}

fn check_members(when: &When, node: &Node, report: &mut Report) {
    if when.see_count() == 0 {
        report.error(node.at, "key-missing", "all needs a see");
    }
    let sees: Vec<&See> = when.sees().collect();
    let mut first_is_blocked = false;
    for (index, see) in sees.iter().enumerate() {
        let others = || sees.iter().enumerate().filter(|(other, _)| *other != index);
        let shares = others().any(|(_, other)| other.types.iter().any(|kind| see.types.contains(kind)));
        if see.across.is_some() && shares {
            report.error(see.at, "across-position", "across shares a type with another member");
        }
        if let Some(kind) = blocked(when, see) {
            // The first event of a match may be of an `until` type, and no other.
            if see.times > 1 || first_is_blocked {
                discards(see.at, kind, report);
            }
            first_is_blocked = true;
        }
    }
}

fn check_waits(when: &When, report: &mut Report) {
    let waits = when.steps.iter().filter_map(|step| match step {
        Step::Wait(absent, wait) => Some((*wait, absent.at)),
        _ => None,
    });
    let total = if when.any_order {
        waits.clone().map(|(wait, _)| wait).max().unwrap_or(0)
    } else {
        waits.clone().map(|(wait, _)| wait).sum()
    };
    if total > when.within {
        let at = waits.map(|(_, at)| at).next().unwrap_or_default();
        let message = format!(
            "within is shorter than its waits: within={} waits={}",
            fields::shown(when.within),
            fields::shown(total)
        );
        report.error(at, "within-short", message);
    }
}
