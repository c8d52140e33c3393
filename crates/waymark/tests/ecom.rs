//! A real web shop's log through the mapping: every row becomes an event, and exact duplicates are seen as such.

mod shop;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use shop::data;
use waymark::{
    backtest,
    files::read_patterns,
    replay::{mapping::Mapping, read},
};

#[test]
fn the_shops_log_is_read_whole_and_in_order() {
    let Some(data) = data() else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/ecom/mapping.toml");
    let text = std::fs::read_to_string(&file).expect("the mapping is in the repository");
    let mapping = Mapping::parse("mapping.toml", &text).expect("valid");
    let events = read(&data, &mapping).expect("readable");
    assert_eq!(events.len(), 31_106);
    assert!(events.windows(2).all(|pair| pair[0].time <= pair[1].time));

    let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(events.len() - ids.len(), 30, "exact duplicates have equal ids");
    let sessions = |kind: &str| -> BTreeSet<&str> {
        events
            .iter()
            .filter(|event| event.kind == kind)
            .filter_map(|event| event.session.as_deref())
            .collect()
    };
    assert_eq!(sessions("payment.failed").len(), 95);
    assert_eq!(sessions("cart.product_added").len(), 1_213);

    // The log's own answer to the two conditions of tests/ecom/patterns, counted without any pattern engine.
    let mut by_session: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for event in &events {
        if seen.insert(event.id.as_str()) {
            let session = event.session.as_deref().expect("every row has one");
            by_session.entry(session).or_default().push((event.time.0, &event.kind));
        }
    }
    let minute = 60_000;
    let (mut failed, mut abandoned, mut matches) = (0, 0, 0);
    for events in by_session.values() {
        let times = |kind: &str| -> Vec<i64> {
            events
                .iter()
                .filter(|(_, found)| *found == kind)
                .map(|(time, _)| *time)
                .collect()
        };
        let (errors, carts, orders) = (
            times("payment.failed"),
            times("cart.product_added"),
            times("order.completed"),
        );
        let ordered = |from: i64, until: i64| orders.iter().any(|time| (from..until).contains(time));
        failed += i32::from(
            errors
                .windows(2)
                .any(|pair| pair[1] - pair[0] <= 10 * minute && !ordered(pair[1], pair[1] + 3 * minute)),
        );
        let left: Vec<&i64> = carts
            .iter()
            .enumerate()
            .filter(|(index, time)| {
                let until = **time + 30 * minute;
                !ordered(**time, until) && carts.get(index + 1).is_none_or(|next| *next >= until)
            })
            .map(|(_, time)| time)
            .collect();
        abandoned += i32::from(!left.is_empty());
        matches += left.len();
    }
    assert_eq!((failed, abandoned, matches), (13, 870, 881));
}

#[test]
fn the_engine_finds_exactly_what_the_log_contains() {
    let Some(data) = data() else { return };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/ecom");
    // So little memory that the events are sorted on the disk.
    let events = backtest::read(&data, Some(&tests.join("mapping.toml")), 1 << 20).expect("readable");
    let (files, _) = read_patterns(&[tests.join("patterns")]).expect("in the repository");
    let patterns: Vec<Arc<pattern::Pattern>> = files
        .iter()
        .map(|file| Arc::new(pattern::parse(&file.path.display().to_string(), &file.text).expect("valid")))
        .collect();
    let mut found: Vec<backtest::Found> = Vec::new();
    let counts = backtest::run(&patterns, &pattern::Policy::default(), &events, false, &mut |one| {
        found.push(one);
        Ok(())
    })
    .expect("read back");
    assert_eq!((counts.events, counts.duplicates, counts.capped), (31_106, 30, 0));
    assert!(
        found
            .windows(2)
            .all(|pair| pair[0].matched.matched_at <= pair[1].matched.matched_at)
    );
    let of = |id: &str| -> Vec<String> {
        let found = found.iter().filter(|found| found.matched.pattern.id == id);
        found.map(|found| found.matched.by()["session"].clone()).collect()
    };
    let sessions = |id: &str| of(id).into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(sessions("ecom-payment-failed"), 13);
    assert_eq!(
        (sessions("ecom-cart-abandoned"), of("ecom-cart-abandoned").len()),
        (870, 881)
    );
}
