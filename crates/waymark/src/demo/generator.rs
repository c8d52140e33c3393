//! Generated customers for the demo: who they are, what they do, and what a watcher ought to notice about them.
//!
//! The same seed gives the same customers to the millisecond. What ought to be noticed is stated by the persona when the
//! journey is planned, not by running any pattern.

use std::collections::BTreeMap;

use event::{Attribute, Attributes, Channel, Event, Identifier, IdentifierKind, Millis, Modality, Role, Text};

/// The type under which the generator publishes what ought to be found.
pub const TRUTH: &str = "truth.stated";

/// The patterns about which the generator states who ought to be found. What other patterns find among its customers is not judged.
pub const STATED: [&str; 10] = [
    "bot-loop",
    "cart-abandoned",
    "checkout-hesitation",
    "ivr-struggle",
    "payment-failed",
    "price-doubt",
    "public-outburst",
    "queue-abandoned",
    "repeated-complaints",
    "transfer-ping-pong",
];

/// The kinds of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persona {
    /// Looks, orders, pays.
    CalmBuyer,
    /// Starts to pay and goes quiet, leaves a cart behind, or doubts the price.
    Doubter,
    /// Calls, struggles with the menu, gives up in the queue, is passed around, complains.
    RepeatCaller,
    /// Talks to a bot that does not understand.
    BotVictim,
    /// Up for renewal, pays with a card that fails, complains in public.
    Renewer,
}

const PERSONAS: [Persona; 5] = [
    Persona::CalmBuyer,
    Persona::Doubter,
    Persona::RepeatCaller,
    Persona::BotVictim,
    Persona::Renewer,
];

/// Everything the generator will send, in event-time order.
#[derive(Debug)]
pub struct Plan {
    /// The events, truth included.
    pub events: Vec<Event>,
    /// The time of the last event.
    pub end: Millis,
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, seedable, good enough for a demo.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high - low).expect("low is below high");
        low + i64::try_from(self.roll() % span).expect("below the span")
    }

    fn one_of<T: Copy>(&mut self, among: &[T]) -> T {
        let index = usize::try_from(self.roll() % among.len() as u64).expect("below the length");
        among[index]
    }
}

/// Plans `customers` journeys that begin one a minute, on average, from `start`.
#[must_use]
pub fn plan(seed: u64, customers: u32, start: Millis) -> Plan {
    let mut dice = Dice(seed);
    let mut events = Vec::new();
    for number in 0..customers {
        let persona = PERSONAS[number as usize % PERSONAS.len()];
        let begin = start.plus(i64::from(number) * 60_000 + dice.between(0, 60_000));
        let mut journey = Script {
            customer: format!("demo-{seed}-{number}"),
            lang: dice.one_of(&["en", "nl", "it"]),
            at: begin,
            sent: 0,
            events: &mut events,
        };
        journey.live(
            persona,
            number / u32::try_from(PERSONAS.len()).expect("five"),
            &mut dice,
        );
    }
    events.sort_by_key(|event| event.time);
    let end = events.last().map_or(start, |event| event.time);
    Plan { events, end }
}

/// One customer's journey while it is being written.
struct Script<'a> {
    customer: String,
    lang: &'static str,
    at: Millis,
    sent: u32,
    events: &'a mut Vec<Event>,
}

const PRODUCTS: [(&str, &str, f64); 4] = [
    ("LB-39-BR", "Leather boots brown 39", 309.90),
    ("SN-42-WH", "Sneakers white 42", 89.50),
    ("BP-20-GN", "Backpack green 20 l", 64.00),
    ("RC-M-BL", "Rain coat blue M", 149.00),
];

impl Script<'_> {
    fn live(&mut self, persona: Persona, nth: u32, dice: &mut Dice) {
        let product = dice.one_of(&PRODUCTS);
        match (persona, nth % 3) {
            (Persona::CalmBuyer, _) => self.buys(product, dice),
            (Persona::Doubter, 0) => self.hesitates(product, dice),
            (Persona::Doubter, 1) => self.leaves_a_cart(product, dice),
            (Persona::Doubter, _) => self.doubts_the_price(product, dice),
            (Persona::RepeatCaller, 0) => self.struggles_with_the_menu(dice),
            (Persona::RepeatCaller, 1) => self.gives_up_in_the_queue(dice),
            (Persona::RepeatCaller, _) => self.is_passed_around(dice),
            (Persona::BotVictim, _) => self.talks_to_a_bot(dice),
            (Persona::Renewer, 0) => self.cannot_pay(product, dice),
            (Persona::Renewer, 1) => self.complains_twice(dice),
            (Persona::Renewer, _) => self.is_angry_in_public(dice),
        }
    }

    fn buys(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.views(product, 2, dice);
        self.adds_to_cart(product, dice);
        self.starts_checkout(product, dice);
        self.wait(dice.between(20_000, 70_000));
        self.web(
            "order.completed",
            &[
                text("order_id", &format!("o-{}", self.customer)),
                money(product.2),
                text("currency", "EUR"),
            ],
        );
    }

    fn hesitates(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.views(product, 2, dice);
        self.adds_to_cart(product, dice);
        self.starts_checkout(product, dice);
        self.ought_to_be_found("checkout-hesitation");
    }

    /// Two of three allow advertising.
    fn may_allow_marketing(&mut self, dice: &mut Dice) {
        if dice.between(0, 3) > 0 {
            let given = [text("purpose", "marketing"), text("status", "granted")];
            self.web("consent.changed", &given);
        }
    }

    fn leaves_a_cart(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.may_allow_marketing(dice);
        self.views(product, 1, dice);
        self.adds_to_cart(product, dice);
        self.ought_to_be_found("cart-abandoned");
    }

    fn doubts_the_price(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.may_allow_marketing(dice);
        self.views(product, 3, dice);
        self.wait(dice.between(5_000, 20_000));
        self.web("cart.product_removed", &[text("product_id", product.0)]);
        self.ought_to_be_found("price-doubt");
    }

    fn struggles_with_the_menu(&mut self, dice: &mut Dice) {
        let call = self.calls(dice);
        for attempt in 1..=3 {
            self.wait(dice.between(5_000, 15_000));
            self.voice(
                "ivr.input_failed",
                &call,
                &[text("step", "main"), ("attempt", Attribute::Long(attempt))],
            );
        }
        self.ought_to_be_found("ivr-struggle");
        self.wait(30_000);
        self.voice(
            "agent.connected",
            &call,
            &[text("agent_id", "agent-17"), text("queue", "service")],
        );
        self.wait(dice.between(60_000, 300_000));
        self.voice("call.ended", &call, &[text("disconnect", "customer")]);
    }

    fn gives_up_in_the_queue(&mut self, dice: &mut Dice) {
        let call = self.calls(dice);
        self.voice("queue.entered", &call, &[text("queue", "service")]);
        let waited = dice.between(90_000, 300_000);
        self.wait(waited);
        self.voice(
            "queue.abandoned",
            &call,
            &[text("queue", "service"), ("waited_ms", Attribute::Long(waited))],
        );
        self.voice("call.ended", &call, &[text("disconnect", "customer")]);
        self.ought_to_be_found("queue-abandoned");
    }

    fn is_passed_around(&mut self, dice: &mut Dice) {
        let call = self.calls(dice);
        for (agent, queue) in [("agent-04", "billing"), ("agent-11", "sales")] {
            self.wait(dice.between(20_000, 90_000));
            self.voice(
                "agent.connected",
                &call,
                &[text("agent_id", agent), text("queue", queue)],
            );
            self.wait(dice.between(30_000, 120_000));
            self.voice(
                "call.transferred",
                &call,
                &[text("to_queue", queue), text("kind", "blind")],
            );
        }
        self.ought_to_be_found("transfer-ping-pong");
        self.wait(60_000);
        self.voice("call.ended", &call, &[text("disconnect", "customer")]);
    }

    fn talks_to_a_bot(&mut self, dice: &mut Dice) {
        let chat = format!("chat-{}", self.customer);
        self.chat("conversation.started", &chat, &[], None);
        let questions = match self.lang {
            "nl" => ["Het werkt nog steeds niet", "Ik wil een medewerker spreken"],
            "it" => ["non funziona niente", "voglio parlare con un responsabile"],
            _ => ["my internet is down since monday", "I want to talk to a person"],
        };
        self.chat("message.received", &chat, &[], Some(questions[0]));
        for _ in 0..3 {
            self.wait(dice.between(10_000, 40_000));
            self.chat("bot.fallback", &chat, &[], None);
        }
        self.wait(dice.between(5_000, 20_000));
        self.chat("message.received", &chat, &[], Some(questions[1]));
        self.chat("handover.requested", &chat, &[], None);
        self.ought_to_be_found("bot-loop");
        self.wait(dice.between(200_000, 400_000));
        self.chat("conversation.ended", &chat, &[], None);
    }

    fn cannot_pay(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.views(product, 1, dice);
        for _ in 0..2 {
            self.wait(dice.between(20_000, 60_000));
            self.web(
                "payment.failed",
                &[text("error", "declined"), ("hard", Attribute::Bool(false))],
            );
        }
        self.ought_to_be_found("payment-failed");
    }

    fn complains_twice(&mut self, dice: &mut Dice) {
        for _ in 0..2 {
            self.wait(dice.between(600_000, 3_600_000));
            self.on(
                Channel::Email,
                "complaint.filed",
                &[text("reason", "renewal price")],
                |_| {},
            );
        }
        self.ought_to_be_found("repeated-complaints");
    }

    fn is_angry_in_public(&mut self, dice: &mut Dice) {
        let body = match self.lang {
            "nl" => "Waardeloze service, het werkt nog steeds niet en niemand reageert. Verschrikkelijk!",
            "it" => "Servizio pessimo, non funziona niente. Vergogna!",
            _ => "Terrible service, the worst company ever, nobody answers. I hate it!",
        };
        self.wait(dice.between(1_000, 60_000));
        let lang = self.lang;
        let attributes = [
            text("network", "mastodon"),
            ("public", Attribute::Bool(true)),
            ("reach", Attribute::Long(1200)),
        ];
        self.on(Channel::Social, "mention.posted", &attributes, |event| {
            event.text = Some(said(body, lang))
        });
        self.ought_to_be_found("public-outburst");
    }

    fn views(&mut self, product: (&str, &str, f64), times: u32, dice: &mut Dice) {
        for _ in 0..times {
            self.web(
                "product.viewed",
                &[
                    text("product_id", product.0),
                    text("name", product.1),
                    money(product.2),
                    text("currency", "EUR"),
                ],
            );
            self.wait(dice.between(5_000, 60_000));
        }
    }

    fn adds_to_cart(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.web(
            "cart.product_added",
            &[
                text("product_id", product.0),
                text("name", product.1),
                money(product.2),
                text("currency", "EUR"),
            ],
        );
        self.wait(dice.between(5_000, 30_000));
    }

    fn starts_checkout(&mut self, product: (&str, &str, f64), dice: &mut Dice) {
        self.wait(dice.between(1_000, 10_000));
        self.web("checkout.started", &[money(product.2), text("currency", "EUR")]);
    }

    fn calls(&mut self, dice: &mut Dice) -> String {
        let call = format!("call-{}", self.customer);
        self.voice("call.started", &call, &[text("direction", "inbound")]);
        self.wait(dice.between(1_000, 5_000));
        call
    }

    fn wait(&mut self, span: i64) {
        self.at = self.at.plus(span);
    }

    fn web(&mut self, kind: &str, attributes: &[(&str, Attribute)]) {
        let session = format!("s-{}", self.customer);
        self.on(Channel::Web, kind, attributes, |event| event.session = Some(session));
    }

    fn voice(&mut self, kind: &str, call: &str, attributes: &[(&str, Attribute)]) {
        self.on(Channel::Voice, kind, attributes, |event| {
            event.conversation = Some(call.to_owned())
        });
    }

    fn chat(&mut self, kind: &str, chat: &str, attributes: &[(&str, Attribute)], body: Option<&str>) {
        let lang = self.lang;
        self.on(Channel::Chat, kind, attributes, |event| {
            event.conversation = Some(chat.to_owned());
            event.text = body.map(|body| said(body, lang));
        });
    }

    /// States on the business topic that a pattern ought to match this customer, once, from here on.
    fn ought_to_be_found(&mut self, pattern: &str) {
        self.on(Channel::Business, TRUTH, &[text("pattern", pattern)], |_| {});
    }

    fn on(&mut self, channel: Channel, kind: &str, attributes: &[(&str, Attribute)], finish: impl FnOnce(&mut Event)) {
        self.sent += 1;
        let attributes: Attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect::<BTreeMap<_, _>>();
        let mut event = Event {
            id: format!("{}-{}", self.customer, self.sent),
            source: "waymark/demo".to_owned(),
            kind: kind.to_owned(),
            time: self.at,
            tenant: "default".to_owned(),
            channel,
            identifiers: vec![Identifier {
                kind: IdentifierKind::Customer,
                value: self.customer.clone(),
                namespace: String::new(),
                verified: true,
            }],
            attributes,
            ..Event::default()
        };
        finish(&mut event);
        self.events.push(event);
        // A journey never does two things in one millisecond, so its order needs no tie-break across topics.
        self.at = self.at.plus(1);
    }
}

fn text(name: &'static str, value: &str) -> (&'static str, Attribute) {
    (name, Attribute::Text(value.to_owned()))
}

fn money(value: f64) -> (&'static str, Attribute) {
    ("value", Attribute::Double(value))
}

fn said(body: &str, lang: &str) -> Text {
    Text {
        body: body.to_owned(),
        lang: Some(lang.to_owned()),
        role: Role::Customer,
        modality: Modality::Text,
        ..Text::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_events_are_in_order() {
        let (one, same, other) = (plan(7, 50, Millis(0)), plan(7, 50, Millis(0)), plan(8, 50, Millis(0)));
        assert_eq!(one.events, same.events);
        assert_ne!(one.events, other.events);
        assert!(one.events.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }

    #[test]
    fn every_pattern_that_ships_has_a_customer_to_find() {
        let plan = plan(7, 60, Millis(0));
        let mut stated: Vec<&Attribute> = plan
            .events
            .iter()
            .filter(|event| event.kind == TRUTH)
            .map(|event| &event.attributes["pattern"])
            .collect();
        stated.sort_by_key(|name| format!("{name:?}"));
        stated.dedup();
        assert_eq!(stated.len(), 10);
    }
}
