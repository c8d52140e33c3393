//! An event into the journey: whom, where, which cart, which case, what was promised, what is remembered.

use event::{
    Answer, Attribute, Case, Channel, ChannelUse, ConsentState, ConsentStatus, Contract, Conversation, CustomerValue,
    Decimal, Event, EventRef, KnownIdentifier, Millis, Product, Promise, PromiseStatus, Role, TimelineEntry,
};

use crate::{Journey, Recent, effort, ids, mood, phases};

const DAY: i64 = 86_400_000;
/// Events among which a repeat is noticed, and for how long.
const RECENT: usize = 32;
const REPEAT_WITHIN: i64 = DAY;
/// Equal neighbours on the timeline become one line within this span.
const COALESCE: i64 = 30 * 60_000;
const CART: usize = 50;
const FEW: usize = 16;
const PROMISES: usize = 32;

/// Whether the event has been processed before; remembers it if not.
pub(crate) fn is_repeat(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let hash = ids::hash([event.source.as_bytes(), event.id.as_bytes()]);
    let recent = &mut journey.core.recent;
    recent.retain(|known| now.since(known.at) < REPEAT_WITHIN);
    if recent.iter().any(|known| known.hash == hash) {
        return true;
    }
    if recent.len() >= RECENT {
        recent.remove(0);
    }
    recent.push(Recent {
        hash: hash.to_vec(),
        at: now,
    });
    false
}

/// Folds an event; whether something changed that a reader of the profile acts on.
pub(crate) fn fold(journey: &mut Journey, event: &Event, reference: &EventRef, now: Millis, customer: &str) -> bool {
    let mut changed = false;
    let profile = &mut journey.profile;
    if profile.customer.is_empty() {
        customer.clone_into(&mut profile.customer);
        profile.tenant.clone_from(&event.tenant);
        changed = true;
    }
    changed |= identifiers(journey, event, now);
    changed |= language(journey, event);
    changed |= consent(journey, event, now);
    changed |= orders(journey, event, now);
    changed |= phases::read(&mut journey.profile, event, now);
    changed |= contracts(journey, event);
    changed |= cases(journey, event, now);
    changed |= conversations(journey, event, now);
    changed |= promises(journey, event, reference, now);
    changed |= surveys(journey, event, now);
    changed |= mood::read(&mut journey.texts, event, reference, now);
    channel_use(journey, event, now);
    effort::read(&mut journey.efforts, event, now);
    if event.kind.starts_with("intervention.") {
        return changed;
    }
    let core = &mut journey.core;
    if !matches!(
        event.channel,
        Channel::Business | Channel::System | Channel::Agent | Channel::Unknown
    ) {
        core.channel = event.channel;
        core.seen_at = Some(now);
    }
    if event.session.is_some() {
        core.session.clone_from(&event.session);
    }
    if event.conversation.is_some() {
        core.conversation.clone_from(&event.conversation);
    }
    if let Some(trace) = &event.trace {
        core.traceparent = Some(trace.traceparent.clone());
    }
    if event.kind == "session.ended" {
        core.session = None;
        changed |= core.changed;
    }
    changed
}

/// Enters the event into the timeline, beside its like where that is the line before; drops the oldest beyond `limit`.
/// Returns how many were dropped.
pub(crate) fn remember(journey: &mut Journey, event: &Event, index: u64, limit: usize) -> u32 {
    let title = title(event);
    let score = event.sentiment.as_ref().and_then(|sentiment| sentiment.score);
    if let Some((_, last)) = journey.timeline.iter_mut().next_back() {
        let alike = last.kind == event.kind
            && last.title == title
            && last.channel == event.channel
            && last.conversation == event.conversation
            && event.time.since(last.time).abs() <= COALESCE
            && score.is_none()
            && last.score.is_none();
        if alike {
            last.count = last.count.saturating_add(1);
            return 0;
        }
    }
    let entry = TimelineEntry {
        time: event.time,
        channel: event.channel,
        kind: event.kind.clone(),
        title,
        count: 1,
        conversation: event.conversation.clone(),
        score,
        origin: None,
        event: Some(event.id.clone()),
    };
    journey.timeline.insert(index, entry);
    let mut dropped = 0;
    while journey.timeline.len() > limit {
        journey.timeline.pop_first();
        dropped += 1;
    }
    dropped
}

/// What a reader sees beside the type: a product, an amount, a step; never the customer's text.
fn title(event: &Event) -> String {
    let attribute = |name: &str| match event.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text.clone()),
        _ => None,
    };
    if let (Some(value), currency) = (number(event, "value"), attribute("currency")) {
        return pattern::money(value, &currency.unwrap_or_default(), "en")
            .trim()
            .to_owned();
    }
    if let Some(item) = event.items.first() {
        return item.name.clone().unwrap_or_else(|| item.product_id.clone());
    }
    [
        "name",
        "product_id",
        "queue",
        "to_queue",
        "step",
        "reason",
        "error",
        "campaign",
        "topic",
        "page_type",
    ]
    .into_iter()
    .find_map(attribute)
    .unwrap_or_default()
}

fn string<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    match event.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an amount for comparison and display")]
fn number(event: &Event, name: &str) -> Option<f64> {
    match event.attributes.get(name) {
        Some(Attribute::Long(value)) => Some(*value as f64),
        Some(Attribute::Double(value)) => Some(*value),
        _ => None,
    }
}

fn amount(event: &Event, name: &str) -> Option<Decimal> {
    number(event, name).and_then(Decimal::from_f64)
}

/// A time in an attribute: epoch milliseconds, or RFC 3339.
fn moment(event: &Event, name: &str) -> Option<Millis> {
    match event.attributes.get(name)? {
        Attribute::Long(at) => Some(Millis(*at)),
        Attribute::Text(text) => {
            let stamp: jiff::Timestamp = text.parse().ok()?;
            Some(Millis(stamp.as_millisecond()))
        }
        _ => None,
    }
}

fn identifiers(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let mut changed = false;
    for identifier in event
        .identifiers
        .iter()
        .filter(|identifier| identifier.kind.strength().is_some())
    {
        let known = journey.profile.identifiers.iter_mut().find(|known| {
            let one = &known.identifier;
            (one.kind, &one.value, &one.namespace) == (identifier.kind, &identifier.value, &identifier.namespace)
        });
        if let Some(known) = known {
            known.last_seen = now;
            changed |= identifier.verified && !known.identifier.verified;
            known.identifier.verified |= identifier.verified;
            continue;
        }
        if journey.profile.identifiers.len() >= FEW {
            let oldest = journey
                .profile
                .identifiers
                .iter()
                .enumerate()
                .min_by_key(|(index, known)| (known.last_seen, *index));
            if let Some((index, _)) = oldest {
                journey.profile.identifiers.remove(index);
            }
        }
        journey.profile.identifiers.push(KnownIdentifier {
            identifier: identifier.clone(),
            key: String::new(),
            first_seen: now,
            last_seen: now,
            shared: false,
        });
        changed = true;
    }
    changed
}

fn language(journey: &mut Journey, event: &Event) -> bool {
    let spoken = event.text.as_ref().filter(|text| text.role == Role::Customer);
    let scored = event.sentiment.as_ref().and_then(|sentiment| sentiment.lang.clone());
    let told = scored
        .filter(|lang| lang != "und")
        .or_else(|| spoken.and_then(|text| text.lang.clone()));
    let hint = string(event, "locale")
        .and_then(|locale| locale.get(..2))
        .map(str::to_lowercase);
    let lang = match (told, &journey.profile.lang) {
        (Some(lang), _) => Some(lang),
        (None, None) => hint,
        (None, Some(_)) => None,
    };
    let changed = lang.is_some() && lang != journey.profile.lang;
    if changed {
        journey.profile.lang = lang;
    }
    if let Some(zone) = string(event, "time_zone") {
        journey.profile.time_zone = Some(zone.to_owned());
    }
    changed
}

fn consent(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let mut changed = false;
    let mut set = |purpose: &str, status: ConsentStatus, since: Option<Millis>, reference: Option<String>| {
        if status == ConsentStatus::Unknown {
            return;
        }
        let consent = &mut journey.profile.consent;
        if consent.len() >= FEW && !consent.contains_key(purpose) {
            return;
        }
        let known = consent.entry(purpose.to_owned()).or_default();
        // A later statement counts; of two at one time the stricter.
        let older = since < known.since;
        let laxer = since == known.since && known.status == ConsentStatus::Denied;
        if !older && !laxer && known.status != status {
            *known = ConsentState {
                status,
                since,
                reference,
            };
            changed = true;
        }
    };
    if let Some(stated) = &event.consent {
        let since = Some(stated.captured.unwrap_or(now).min(now));
        for (purpose, status) in &stated.purposes {
            set(purpose, *status, since, stated.reference.clone());
        }
    }
    if event.kind == "consent.changed"
        && let (Some(purpose), Some(status)) = (string(event, "purpose"), string(event, "status"))
        && let Some(status) = ConsentStatus::parse(status)
    {
        set(purpose, status, Some(now), Some(event.id.clone()));
    }
    changed
}

fn orders(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let profile = &mut journey.profile;
    match event.kind.as_str() {
        "cart.product_added" => {
            if let Some(id) = string(event, "cart_id") {
                profile.cart_id = Some(id.to_owned());
            }
            for item in products(event) {
                let known = profile
                    .cart
                    .iter()
                    .position(|known| known.product_id == item.product_id);
                match known {
                    Some(index) => profile.cart[index].quantity += item.quantity,
                    None if profile.cart.len() < CART => profile.cart.push(item),
                    None => {}
                }
            }
            value_of_cart(journey);
        }
        "cart.product_removed" => {
            for item in products(event) {
                if let Some(index) = profile
                    .cart
                    .iter()
                    .position(|known| known.product_id == item.product_id)
                {
                    profile.cart[index].quantity -= item.quantity;
                    if profile.cart[index].quantity <= 0.0 {
                        profile.cart.remove(index);
                    }
                }
            }
            value_of_cart(journey);
        }
        "order.completed" => {
            let value = profile.value.get_or_insert_with(CustomerValue::default);
            value.orders = value.orders.saturating_add(1);
            value.last_order_at = Some(now);
            if let Some(currency) = string(event, "currency") {
                if value.currency.is_empty() {
                    currency.clone_into(&mut value.currency);
                }
                // Sums of two currencies mean nothing; the first one seen is kept.
                if value.currency == currency
                    && let Some(amount) = amount(event, "value")
                {
                    let sum = value.lifetime.unwrap_or_default().0.saturating_add(amount.0);
                    value.lifetime = Some(Decimal(sum));
                }
            }
            value.cart = None;
            profile.cart.clear();
            profile.cart_id = None;
        }
        _ => {}
    }
    event.kind == "order.completed"
}

fn products(event: &Event) -> Vec<Product> {
    let counted = |mut item: Product| {
        if item.quantity <= 0.0 {
            item.quantity = 1.0;
        }
        item
    };
    if !event.items.is_empty() {
        return event.items.iter().cloned().map(counted).collect();
    }
    let Some(product_id) = string(event, "product_id") else {
        return Vec::new();
    };
    let item = Product {
        product_id: product_id.to_owned(),
        name: string(event, "name").map(ToOwned::to_owned),
        category: string(event, "category").map(ToOwned::to_owned),
        price: amount(event, "price"),
        currency: string(event, "currency").map(ToOwned::to_owned),
        quantity: number(event, "quantity").unwrap_or(1.0),
        ..Product::default()
    };
    vec![counted(item)]
}

fn value_of_cart(journey: &mut Journey) {
    let priced = journey
        .profile
        .cart
        .iter()
        .filter_map(|item| Some((item.price?.to_f64(), item.quantity, item.currency.clone())));
    let (mut sum, mut currency) = (0.0, None);
    for (price, quantity, of) in priced {
        sum += price * quantity;
        currency = of.or(currency);
    }
    let value = journey.profile.value.get_or_insert_with(CustomerValue::default);
    value.cart = Decimal::from_f64(sum).filter(|sum| sum.0 > 0);
    if let (true, Some(currency)) = (value.currency.is_empty(), currency) {
        value.currency = currency;
    }
}

fn contracts(journey: &mut Journey, event: &Event) -> bool {
    let status = match event.kind.as_str() {
        "contract.started" | "contract.renewed" => "active",
        "renewal.due" => "due",
        "cancellation.requested" => "cancelling",
        "cancellation.confirmed" => "cancelled",
        "contract.downgraded" => "active",
        _ => return false,
    };
    let Some(id) = string(event, "contract_id") else {
        return false;
    };
    let contracts = &mut journey.profile.contracts;
    if !contracts.iter().any(|known| known.contract_id == id) {
        if contracts.len() >= FEW {
            contracts.remove(0);
        }
        contracts.push(Contract {
            contract_id: id.to_owned(),
            ..Contract::default()
        });
    }
    if let Some(known) = contracts.iter_mut().find(|known| known.contract_id == id) {
        status.clone_into(&mut known.status);
        known.ends_at = moment(event, "ends_at").or(known.ends_at);
        if event.kind == "contract.started" {
            known.started_at = Some(event.time);
        }
        known.monthly = amount(event, "monthly").or(known.monthly);
        known.currency = string(event, "currency")
            .map(ToOwned::to_owned)
            .or(known.currency.take());
        known.product = string(event, "product").map(ToOwned::to_owned).or(known.product.take());
    }
    let running = contracts.iter().filter(|known| known.status != "cancelled");
    journey.profile.renewal_date = running.filter_map(|known| known.ends_at).min();
    true
}

fn cases(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let Some(what) = event.kind.strip_prefix("case.") else {
        return false;
    };
    let Some(id) = string(event, "case_id") else {
        return false;
    };
    let cases = &mut journey.profile.cases;
    let known = cases.iter().position(|case| case.case_id == id);
    match (what, known) {
        ("closed", Some(index)) => {
            cases.remove(index);
        }
        ("closed", None) => return false,
        (_, Some(index)) => {
            if what == "reopened" {
                cases[index].reopened = cases[index].reopened.saturating_add(1);
            }
        }
        (_, None) => {
            if cases.len() >= FEW {
                cases.remove(0);
            }
            cases.push(Case {
                case_id: id.to_owned(),
                opened_at: now,
                reason: string(event, "reason").map(ToOwned::to_owned),
                reopened: i32::from(what == "reopened"),
            });
        }
    }
    true
}

fn conversations(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    let Some(id) = &event.conversation else { return false };
    let open = &mut journey.profile.conversations;
    let known = open.iter().position(|conversation| &conversation.conversation == id);
    if matches!(event.kind.as_str(), "conversation.ended" | "call.ended") {
        if let Some(index) = known {
            open.remove(index);
        }
        return known.is_some();
    }
    let begins = effort::is_contact(&event.kind) || matches!(event.kind.as_str(), "message.received" | "queue.entered");
    // Mail and posts are answered hours later: nobody sits in them.
    let lasting = matches!(event.channel, Channel::Email | Channel::Social);
    if known.is_none() && begins && !lasting {
        if open.len() >= FEW {
            open.remove(0);
        }
        open.push(Conversation {
            conversation: id.clone(),
            channel: event.channel,
            started_at: now,
            ..Conversation::default()
        });
    }
    if let Some(one) = open.iter_mut().find(|conversation| &conversation.conversation == id) {
        one.last_at = Some(now);
        if let Some(text) = &event.text {
            one.last_from = text.role;
        }
        if let Some(agent) = string(event, "agent_id") {
            one.owner = Some(agent.to_owned());
        }
    }
    known.is_none() && begins && !lasting
}

fn promises(journey: &mut Journey, event: &Event, reference: &EventRef, now: Millis) -> bool {
    let promises = &mut journey.profile.promises;
    let mut changed = false;
    let mut open = |id: String, kind: &str, due_at: Option<Millis>, of: Option<String>| {
        if promises.iter().any(|promise| promise.promise_id == id) {
            return;
        }
        if promises.len() >= PROMISES {
            promises.remove(0);
        }
        promises.push(Promise {
            promise_id: id,
            kind: kind.to_owned(),
            made_at: now,
            due_at,
            made_by: event.text.as_ref().map_or(Role::Unknown, |text| text.role),
            amount: amount(event, "value"),
            currency: string(event, "currency").map(ToOwned::to_owned),
            reference: of,
            status: PromiseStatus::Open,
            closed_by: None,
        });
        changed = true;
    };
    let of = |name: &str| string(event, name).map(ToOwned::to_owned);
    match event.kind.as_str() {
        "promise.made" => {
            if let Some(id) = of("promise_id") {
                let kind = of("kind").unwrap_or_default();
                open(id, &kind, moment(event, "due_at"), None);
            }
        }
        "cancellation.confirmed" if number(event, "fee") == Some(0.0) => {
            open(
                event.id.clone(),
                "no_charge",
                Some(now.plus(90 * DAY)),
                of("contract_id"),
            );
        }
        "return.received" => open(event.id.clone(), "refund", Some(now.plus(5 * DAY)), of("order_id")),
        "callback.requested" => open(event.id.clone(), "callback", Some(now.plus(DAY)), None),
        "shipment.delayed" => {
            if let Some(due) = moment(event, "eta").or_else(|| moment(event, "promised_at")) {
                open(event.id.clone(), "delivery", Some(due), of("order_id"));
            }
        }
        _ => {}
    }
    let mut close = |fits: &dyn Fn(&Promise) -> bool, status: PromiseStatus| {
        for promise in promises
            .iter_mut()
            .filter(|promise| promise.status == PromiseStatus::Open && fits(promise))
        {
            promise.status = status;
            promise.closed_by = Some(reference.clone());
            changed = true;
        }
    };
    let order = of("order_id");
    match event.kind.as_str() {
        "promise.kept" | "promise.released" => {
            let id = of("promise_id").unwrap_or_default();
            let status = if event.kind == "promise.kept" {
                PromiseStatus::Kept
            } else {
                PromiseStatus::Released
            };
            close(&|promise| promise.promise_id == id, status);
        }
        "order.refunded" => close(
            &|promise| promise.kind == "refund" && promise.reference == order,
            PromiseStatus::Kept,
        ),
        "shipment.delivered" => {
            close(
                &|promise| promise.kind == "delivery" && promise.reference == order,
                PromiseStatus::Kept,
            );
        }
        "agent.connected" => close(&|promise| promise.kind == "callback", PromiseStatus::Kept),
        "invoice.issued" if number(event, "value").is_some_and(|value| value > 0.0) => {
            close(&|promise| promise.kind == "no_charge", PromiseStatus::Broken);
        }
        _ => {}
    }
    changed
}

/// Promises whose time has come are broken; that of no charge is kept by silence. Whether any was.
pub(crate) fn overdue(journey: &mut Journey, now: Millis) -> bool {
    let mut changed = false;
    let due = journey
        .profile
        .promises
        .iter_mut()
        .filter(|promise| promise.status == PromiseStatus::Open && promise.due_at.is_some_and(|due| due <= now));
    for promise in due {
        promise.status = if promise.kind == "no_charge" {
            PromiseStatus::Kept
        } else {
            PromiseStatus::Broken
        };
        changed = true;
    }
    changed
}

fn surveys(journey: &mut Journey, event: &Event, now: Millis) -> bool {
    if event.kind != "survey.answered" {
        return false;
    }
    let surveys = &mut journey.profile.surveys;
    if surveys.len() >= FEW {
        surveys.remove(0);
    }
    surveys.push(Answer {
        survey_id: string(event, "survey_id").unwrap_or_default().to_owned(),
        kind: string(event, "kind").unwrap_or_default().to_owned(),
        score: number(event, "score").unwrap_or_default(),
        scale: number(event, "scale").unwrap_or_default(),
        time: now,
        agent_id: string(event, "agent_id").map(ToOwned::to_owned),
    });
    false
}

fn channel_use(journey: &mut Journey, event: &Event, now: Millis) {
    if matches!(event.channel, Channel::Unknown | Channel::System | Channel::Business) {
        return;
    }
    let channels = &mut journey.profile.channels;
    if !channels.iter().any(|known| known.channel == event.channel) {
        channels.push(ChannelUse {
            channel: event.channel,
            ..ChannelUse::default()
        });
    }
    if let Some(known) = channels.iter_mut().find(|known| known.channel == event.channel) {
        known.last_at = Some(now);
        if effort::is_contact(&event.kind) {
            known.contacts = known.contacts.saturating_add(1);
        }
    }
}
