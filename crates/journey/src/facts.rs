//! What predicates and sentences may read of a journey.

use event::PromiseStatus;
use pattern::{Facts, Value};

use crate::{EffortKind, Journey, effort, mood};

fn text(value: &str) -> Value<'_> {
    Value::Text(value)
}

impl Facts for Journey {
    fn journey(&self, path: &str) -> Option<Value<'_>> {
        match path {
            "phase" => Some(text(self.profile.phase.as_str())),
            "contacts_7d" => {
                let contacts = self.efforts.iter().filter(|entry| entry.kind == EffortKind::Contact);
                Some(Value::Long(i64::try_from(contacts.count()).unwrap_or(i64::MAX)))
            }
            "effort.points" => Some(Value::Long(effort::state(&self.efforts).points.into())),
            "sentiment.mean" => mood::state(&self.texts).mean.map(Value::Double),
            "sentiment.ewma" => mood::state(&self.texts).ewma.map(Value::Double),
            "sentiment.trend" => mood::state(&self.texts).trend.map(Value::Double),
            "sentiment.negative_run" => Some(Value::Long(self.texts.negative_run.into())),
            "sentiment.dip" => Some(Value::Bool(mood::is_dip(&self.texts))),
            "sentiment.worst" => self.texts.worst.map(Value::Double),
            _ => {
                if let Some(name) = path.strip_prefix("sentiment.signals.") {
                    return Some(Value::Double(self.texts.signals.get(name).copied().unwrap_or(0.0)));
                }
                if let Some(kind) = path.strip_prefix("promises.") {
                    let newest = self
                        .profile
                        .promises
                        .iter()
                        .rev()
                        .find(|promise| promise.kind == kind)?;
                    return (newest.status != PromiseStatus::Unknown).then(|| text(newest.status.as_str()));
                }
                path.strip_prefix("value.").and_then(|name| self.value(name))
            }
        }
    }

    fn profile(&self, path: &str) -> Option<Value<'_>> {
        let profile = &self.profile;
        match path {
            "phase" => Some(text(profile.phase.as_str())),
            "lang" => profile.lang.as_deref().map(text),
            "time_zone" => profile.time_zone.as_deref().map(text),
            "renewal_date" => profile.renewal_date.map(|at| Value::Long(at.0)),
            "cart_id" => profile.cart_id.as_deref().map(text),
            "quarantined" => Some(Value::Bool(profile.quarantined)),
            _ => {
                if let Some(name) = path.strip_prefix("preferences.") {
                    return profile.preferences.get(name).map(|value| text(value));
                }
                if let Some(purpose) = path.strip_prefix("consent.") {
                    return profile.consent.get(purpose).map(|state| text(state.status.as_str()));
                }
                path.strip_prefix("value.").and_then(|name| self.value(name))
            }
        }
    }
}

impl Journey {
    fn value(&self, name: &str) -> Option<Value<'_>> {
        let value = self.profile.value.as_ref()?;
        let money = |amount: Option<event::Decimal>| amount.map(|amount| Value::Double(amount.to_f64()));
        match name {
            "orders" => Some(Value::Long(value.orders.into())),
            "band" => Some(text(value.band.as_str())),
            "currency" => Some(text(&value.currency)),
            "lifetime" => money(value.lifetime),
            "cart" => money(value.cart),
            "monthly" => money(value.monthly),
            _ => None,
        }
    }
}
