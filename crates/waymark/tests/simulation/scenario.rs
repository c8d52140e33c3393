//! What happens in a run, all from one seed: customers, and what goes wrong.

use std::{sync::Arc, time::Duration};

use service::worker::Start;
use stream::{Millis, Output, TopicPartition};
use testkit::sim::{EPOCH, Fault, Micros, Random, Weather};

/// Where virtual time begins.
pub const EPOCH_MILLIS: i64 = EPOCH;
pub const SECOND: Micros = 1_000_000;

/// The processes: two of each service, and one of each that comes and goes.
pub const INTAKES: [usize; 3] = [0, 1, 4];
pub const MONITORS: [usize; 3] = [2, 3, 5];
pub const PROCESSES: usize = 6;
/// When the last of each begins.
pub const LATE: Micros = 9 * SECOND;

/// One event, as its sender wrote it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Micros,
    pub topic: &'static str,
    pub partition: i32,
    pub customer: String,
    pub id: String,
    pub value: Vec<u8>,
}

/// A run.
pub struct Scenario {
    pub seed: u64,
    pub window: i64,
    pub sent: Vec<Sent>,
    pub faults: Vec<(Micros, Fault)>,
    /// All is sent and nothing goes wrong after this.
    pub ends: Micros,
    /// Milliseconds that the clocks of intake are ahead.
    pub skew: i64,
    pub is_static: bool,
    /// How long a transaction may last.
    pub transactions: Duration,
    /// When the third of each service begins.
    pub late: Micros,
    /// Clients that join again by themselves, of a thousand.
    pub rejoining: u64,
    /// Where intake begins to read.
    pub start: Start,
}

/// Customers whose events come through two channels end so: what they see depends on which channel lags.
pub const ACROSS: &str = "across";

fn event(customer: &str, number: usize, kind: &str, at: Micros, topic: &'static str, partition: i32) -> Sent {
    let time = Millis(EPOCH + i64::try_from(at / 1000).expect("small"));
    let attributes = match kind {
        "order.completed" => serde_json::json!({ "order_id": "o-1", "value": 9.5, "currency": "EUR" }),
        "product.viewed" => serde_json::json!({ "product_id": "p-1", "value": 9.5, "currency": "EUR" }),
        _ => serde_json::json!({ "value": 9.5, "currency": "EUR" }),
    };
    let id = format!("{customer}-{number}");
    let value = serde_json::json!({
        "id": id, "source": "shop/web", "type": kind, "time": codec::time(time),
        "identifiers": [{ "kind": "customer", "value": customer }], "attributes": attributes,
    });
    Sent {
        at,
        topic,
        partition,
        customer: customer.to_owned(),
        id,
        value: value.to_string().into_bytes(),
    }
}

impl Sent {
    pub fn output(&self) -> Output {
        Output {
            topic: Arc::from(self.topic),
            partition: Some(self.partition),
            timestamp: None,
            key: None,
            value: Some(self.value.clone()),
            headers: Vec::new(),
        }
    }
}

const WEB: &str = "journey.events.web";
const BUSINESS: &str = "journey.events.business";

/// Customers, each with a life that ends in quiet: whatever is due is due long before or after anything else of theirs.
fn customers(random: &mut Random, span: Micros) -> Vec<Sent> {
    let mut sent = Vec::new();
    for number in 0..18 {
        let mut at = random.between(SECOND, span * 2 / 3) / 1000 * 1000;
        let partition = i32::try_from(random.index(2)).expect("small");
        let name = format!("c{number}");
        let mut count = 0;
        let mut push = |kind: &str, at: Micros| {
            count += 1;
            sent.push(event(&name, count, kind, at, WEB, partition));
        };
        for _ in 0..random.between(1, 6) {
            push("product.viewed", at);
            at += random.between(20, 900) * 1000;
        }
        push("cart.product_added", at);
        at += random.between(20, 900) * 1000;
        push("checkout.started", at);
        at += random.between(20, 900) * 1000;
        match random.index(3) {
            0 => push("order.completed", at),
            1 => push("product.viewed", at),
            _ => {}
        }
    }
    // Starts to pay on the web, and the order comes through another channel at once.
    for number in 0..8 {
        let at = random.between(SECOND, span * 2 / 3) / 1000 * 1000;
        let name = format!("{ACROSS}{number}");
        let (one, other) = (random.index(2), random.index(2));
        let partition = |index: usize| i32::try_from(index).expect("small");
        sent.push(event(&name, 1, "checkout.started", at, WEB, partition(one)));
        let later = at + random.between(1, 1500) * 1000;
        sent.push(event(&name, 2, "order.completed", later, BUSINESS, partition(other)));
    }
    // Rubbish, and repeats.
    for number in 0..6 {
        let at = random.between(SECOND, span) / 1000 * 1000;
        let mut rubbish = event(&format!("x{number}"), 1, "product.viewed", at, WEB, 0);
        rubbish.value = b"{ not an event".to_vec();
        sent.push(rubbish);
    }
    sent.sort_by_key(|one| one.at);
    sent
}

/// What goes wrong, one thing after the other and some at once.
fn faults(random: &mut Random, span: Micros) -> Vec<(Micros, Fault)> {
    let mut faults = Vec::new();
    let mut at = 2 * SECOND;
    while at < span {
        let process = match random.index(10) {
            0..=3 => MONITORS[random.index(2)],
            4..=8 => INTAKES[random.index(2)],
            _ => random.index(PROCESSES),
        };
        let any = [MONITORS[0], MONITORS[1], INTAKES[0], INTAKES[1]][random.index(4)];
        let away = random.between(50_000, 3 * SECOND);
        let fault = match random.index(16) {
            0..=2 => Fault::Kill(process, away),
            3 => Fault::KillAndLoseDisk(any, away),
            4 => Fault::KillAndOldDisk(any, away),
            5 => Fault::KeepDisk(any),
            6 => Fault::Stop(process, away),
            // Past sessions and transactions, and shorter.
            7 | 8 => Fault::Pause(any, random.between(20_000, 9 * SECOND)),
            // Out of the group and back in it before a transaction is given up, or any time.
            9 if random.chance(500) => Fault::Isolate(any, random.between(3 * SECOND, 5 * SECOND)),
            9 => Fault::Isolate(any, random.between(100_000, 8 * SECOND)),
            10 => Fault::NodeDown(random.index(3), random.between(100_000, 5 * SECOND)),
            11..=13 => Fault::Storm(storm(random), random.between(500_000, 4 * SECOND)),
            14 => Fault::DiskFull(any, random.between(100_000, 2 * SECOND)),
            _ if random.chance(500) => Fault::Hijack(any),
            _ => Fault::Compact,
        };
        faults.push((at, fault));
        at += random.between(30_000, 2_500_000);
    }
    // The one that comes late goes, and comes again.
    let storms = random.chance(300);
    for process in [INTAKES[2], MONITORS[2]] {
        if storms {
            let mut at = LATE;
            while at < span {
                faults.push((at, Fault::Stop(process, random.between(200_000, 2 * SECOND))));
                at += random.between(SECOND, 4 * SECOND);
            }
        }
    }
    faults
}

fn storm(random: &mut Random) -> Weather {
    Weather {
        lost: random.between(0, 250),
        delayed: random.between(50, 500),
        late: random.between(100_000, 3 * SECOND),
        latency: random.between(400, 20_000),
    }
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let span = 30 * SECOND;
        let sent = customers(&mut random, span);
        let faults = faults(&mut random, span);
        Self {
            seed,
            window: if random.chance(400) { 500 } else { 0 },
            sent,
            faults,
            ends: span + 10 * SECOND,
            skew: match random.index(8) {
                0 => 3_600_000,
                1 => -3_600_000,
                _ => 0,
            },
            is_static: random.chance(300),
            transactions: Duration::from_secs(if random.chance(500) { 4 } else { 12 }),
            late: LATE,
            rejoining: 300,
            start: Start::Earliest,
        }
    }

    /// The same customers, and nothing goes wrong.
    pub fn calm(&self) -> Self {
        Self {
            faults: Vec::new(),
            sent: self.sent.clone(),
            ends: self.ends,
            ..Self::of(self.seed)
        }
    }

    /// Brokers fail, others lead and coordinate in their places, and of the disks of who dies a file is half written.
    pub fn moved(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x1ead);
        // Everything is sent after the beginning, so both begins must give the same.
        let mut scenario = Self {
            start: Start::Latest,
            ..Self::of(seed)
        };
        for (_, fault) in &mut scenario.faults {
            match fault {
                Fault::NodeDown(node, long) => *fault = Fault::NodeLost(*node, *long),
                Fault::KillAndLoseDisk(process, away) => *fault = Fault::KillAndDamage(*process, *away),
                _ => {}
            }
        }
        let mut at = 2 * SECOND;
        while at < 30 * SECOND {
            let long = random.between(100_000, 5 * SECOND);
            scenario.faults.push((at, Fault::NodeLost(random.index(3), long)));
            let any = [MONITORS[0], MONITORS[1]][random.index(2)];
            let after = random.between(0, 3 * SECOND);
            let away = random.between(50_000, 3 * SECOND);
            scenario.faults.push((at + after, Fault::KillAndDamage(any, away)));
            at += random.between(2 * SECOND, 6 * SECOND);
        }
        scenario
    }

    /// A channel cannot be read for more than a minute. What it brings then comes in one burst, and all of it late.
    pub fn lagging(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x1a65);
        let mut scenario = Self::of(seed);
        let from = random.between(SECOND, 5 * SECOND);
        let long = random.between(61 * SECOND, 90 * SECOND);
        for partition in 0..2 {
            let of = TopicPartition {
                topic: Arc::from(BUSINESS),
                partition,
            };
            scenario.faults.push((from, Fault::Leaderless(of, long)));
        }
        // Who began to pay while it could not be read, and has paid in time.
        for number in 0..12 {
            let name = format!("{ACROSS}-late{number}");
            let at = from + random.between(0, long * 2 / 3) / 1000 * 1000;
            let partition = number % 2;
            scenario
                .sent
                .push(event(&name, 1, "checkout.started", at, WEB, partition));
            let paid = at + random.between(1, 1500) * 1000;
            scenario
                .sent
                .push(event(&name, 2, "order.completed", paid, BUSINESS, partition));
        }
        scenario.sent.sort_by_key(|one| one.at);
        scenario.ends = from + long + 10 * SECOND;
        scenario
    }

    /// One monitor is put out of the group while it sends an epoch, another takes its partitions, goes on with them and leaves, and the
    /// first has them back before it has looked.
    pub fn rejoined(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x1057);
        let (one, other) = (MONITORS[0], MONITORS[1]);
        let mut faults = Vec::new();
        for at in [5, 15, 25].map(|at| at * SECOND) {
            let at = at + random.between(0, 2 * SECOND);
            faults.push((at, Fault::IsolateAtSend(one, random.between(4_300_000, 5 * SECOND))));
            faults.push((
                at + random.between(4_500_000, 6 * SECOND),
                Fault::Stop(other, 2 * SECOND),
            ));
        }
        Self {
            faults,
            transactions: Duration::from_secs(12),
            late: Micros::MAX / 2,
            rejoining: 1000,
            is_static: false,
            ..Self::of(seed)
        }
    }

    /// Brokers forget to mark transactions that they give up.
    pub fn forgetful(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xf029);
        let mut scenario = Self::of(seed);
        let mut at = 2 * SECOND;
        while at < scenario.ends {
            scenario.faults.push((at, Fault::Forget(1 + random.index(3))));
            at += random.between(SECOND, 4 * SECOND);
        }
        scenario
    }

    /// Transactions are committed or aborted and completed without their markers, and who has ended them is perhaps killed.
    pub fn unmarked(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x3a7c);
        let mut scenario = Self::of(seed);
        for (_, fault) in &mut scenario.faults {
            // A request that comes seconds after its connection broke, to a coordinator that has lost markers meanwhile, nobody can mend
            // (`docs/GUARANTEES.md`).
            if let Fault::Storm(weather, _) = fault {
                weather.late = weather.late.min(100_000);
            }
        }
        let mut at = 2 * SECOND;
        while at < scenario.ends - 10 * SECOND {
            scenario
                .faults
                .push((at, Fault::LoseMarkers(random.between(1000, 2 * SECOND))));
            if random.chance(300) {
                let any = [MONITORS[0], MONITORS[1], INTAKES[0], INTAKES[1]][random.index(4)];
                let after = random.between(50_000, 2 * SECOND);
                scenario
                    .faults
                    .push((at + after, Fault::Kill(any, random.between(50_000, SECOND))));
            }
            at += random.between(SECOND, 5 * SECOND);
        }
        scenario
    }

    /// For seconds no transaction that ends gets its markers, and what one leaves open stands among what others do.
    pub fn muted(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5ced);
        let mut scenario = Self::unmarked(seed);
        let mut at = 4 * SECOND;
        while at < scenario.ends - 10 * SECOND {
            let until = at + random.between(2 * SECOND, 5 * SECOND);
            while at < until {
                scenario
                    .faults
                    .push((at, Fault::LoseMarkers(random.between(1000, 300_000))));
                at += random.between(20_000, 150_000);
            }
            at += random.between(4 * SECOND, 8 * SECOND);
        }
        scenario
    }

    /// Transactions are committed and nobody hears of it.
    pub fn unheard(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xdeaf);
        let mut scenario = Self::of(seed);
        let mut at = 3 * SECOND;
        while at < scenario.ends - 10 * SECOND {
            let any = [MONITORS[0], MONITORS[1], INTAKES[0], INTAKES[1]][random.index(4)];
            // Longer than an answer is waited for.
            let long = random.between(5_100_000, 6 * SECOND);
            scenario.faults.push((at, Fault::DeafAtCommit(any, long)));
            at += random.between(2 * SECOND, 8 * SECOND);
        }
        scenario
    }

    /// A process stands still until it is out of its group, and wakes when the coordinator takes the group for what it was before.
    pub fn woken(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x20b1e);
        let mut faults = Vec::new();
        let mut at = 5 * SECOND;
        while at < 30 * SECOND {
            let any = [MONITORS[0], MONITORS[1], INTAKES[0], INTAKES[1]][random.index(4)];
            // A session is three seconds.
            let out = at + random.between(3_500_000, 5 * SECOND);
            let wakes = out + random.between(0, 800_000);
            faults.push((at, Fault::Pause(any, wakes - at)));
            faults.push((out, Fault::ForgetSince(any)));
            at = wakes + random.between(3 * SECOND, 5 * SECOND);
        }
        Self {
            faults,
            is_static: false,
            ..Self::of(seed)
        }
    }

    /// Members of `intake` come and go, and then its coordinator takes the group for what it was many generations ago: the numbers that
    /// follow have all been there, and nobody else comes or goes.
    pub fn taken_back(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xbac4);
        let mut faults = Vec::new();
        let mut at = 3 * SECOND;
        while at < 14 * SECOND {
            let away = random.between(200_000, SECOND);
            faults.push((at, Fault::Stop(INTAKES[2], away)));
            at += away + random.between(500_000, SECOND);
        }
        let generations = 8 + random.index(8);
        faults.push((15 * SECOND, Fault::TakeBack(INTAKES[0], generations)));
        Self {
            faults,
            late: 2 * SECOND,
            is_static: false,
            ..Self::of(seed)
        }
    }

    /// The changelog is trimmed while somebody reads it.
    pub fn trimmed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7213);
        let mut faults = Vec::new();
        let mut at = 3 * SECOND;
        while at < 35 * SECOND {
            for process in [MONITORS[0], MONITORS[1]] {
                faults.push((at, Fault::KeepDisk(process)));
                faults.push((at + random.between(0, 2 * SECOND), Fault::KillAtTrim(process)));
            }
            at += random.between(2 * SECOND, 4 * SECOND);
        }
        Self {
            faults,
            late: Micros::MAX / 2,
            // Nobody waits for the session's end.
            is_static: true,
            ..Self::of(seed)
        }
    }
}
