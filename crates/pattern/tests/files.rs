//! Whole files: those that the end-to-end test uses, and those that must be refused with their place.

mod good;

use good::GOOD;
use pattern::{Severity, lint, parse, run_tests};

/// Lints every file of a folder of the repository; returns the ids. Their tests run in crate `journey`, which folds events.
fn check(folder: &str, lowest: Severity) -> Vec<String> {
    let folder = format!("{}/../../{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
        let path = entry.expect("a readable entry").path();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let name = path.to_string_lossy();
        let findings = lint(&name, &text)
            .into_iter()
            .filter(|finding| finding.severity <= lowest);
        let findings: Vec<String> = findings.map(|finding| finding.to_string()).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        let pattern = parse(&name, &text).expect("linted");
        // What stands on the catalogue topic means the same.
        let again = parse(&name, &pattern.canonical).expect("canonical JSON is read back");
        assert_eq!(again.canonical, pattern.canonical);
        ids.push(pattern.id);
    }
    ids.sort();
    ids
}

#[test]
fn shipped_patterns_have_no_finding() {
    let shipped = check("patterns", Severity::Warning);
    assert!(shipped.len() >= 28, "{shipped:?}");
}

#[test]
fn patterns_of_the_shop_test_have_no_error() {
    assert_eq!(
        check("tests/ecom/patterns", Severity::Error),
        ["ecom-cart-abandoned", "ecom-payment-failed"]
    );
}

fn first(change: (&str, &str)) -> String {
    let text = GOOD.replacen(change.0, change.1, 1);
    assert_ne!(text, GOOD, "{change:?} changes nothing");
    let findings = lint("quiet-cart.yaml", &text);
    findings
        .first()
        .map(ToString::to_string)
        .unwrap_or_else(|| "no finding".to_owned())
}

#[test]
fn a_good_file_has_no_finding() {
    assert_eq!(lint("quiet-cart.yaml", GOOD), []);
}

#[test]
fn every_mistake_is_named_with_its_place() {
    for (change, expected) in [
        (
            ("  within: 30m", "  wihtin: 30m"),
            "quiet-cart.yaml:7:3: error[unknown-key]: unknown key: found=wihtin nearest=within",
        ),
        (("  within: 30m\n", ""), "quiet-cart.yaml:7:3: error[within-missing]"),
        (
            ("when:\n", "when: { within: 1h, wihtin: 30m }\nx:\n"),
            "quiet-cart.yaml:6:7: error[key-missing]",
        ),
        (
            ("within: 30m", "within: 45d"),
            "quiet-cart.yaml:7:11: error[within-long]: within exceeds the limit: within=45d limit=30d",
        ),
        (
            ("within: 30m", "within: 10m"),
            "quiet-cart.yaml:11:7: error[within-short]",
        ),
        (
            ("event.value >= 80.0", "event.value === 80.0"),
            "quiet-cart.yaml:10:46: error[where-syntax]: unexpected token: found====",
        ),
        (
            ("event.value >= 80.0", "event.value >= 'x'"),
            "quiet-cart.yaml:10:34: error[where-type]: cannot compare: left=double right=string",
        ),
        (
            ("event.value >= 80.0", "event.items.exists(1)"),
            "quiet-cart.yaml:10:46: error[where-refused]: not supported in where: function=exists",
        ),
        (
            ("event.value >= 80.0", "viewed.value > 1"),
            "quiet-cart.yaml:10:34: error[name-unknown]: no earlier step captures this name: name=viewed",
        ),
        (
            ("where: has(", "where: !has("),
            "quiet-cart.yaml:10:14: error[quote]: where must be quoted: it begins with !",
        ),
        (
            ("en: left", "en: 'left {{ seen[3].count }}'"),
            "error[template]: no such step: seen[3] steps=1",
        ),
        (
            ("      for: 20m\n", ""),
            "quiet-cart.yaml:11:7: error[absent-open]: absent needs for: no see follows",
        ),
        (
            ("version: 1\n", "version: 1\nversion: 2\n"),
            "quiet-cart.yaml:3:1: error[yaml]: duplicate key: key=version",
        ),
        (
            ("channels: [email]", "channels: [emial]"),
            "error[value]: unknown channel: found=emial",
        ),
        (
            ("cart.product_added\n", "cart.product_aded\n"),
            "warning[type-unlisted]: not in the vocabulary: found=cart.product_aded nearest=cart.product_added",
        ),
        (("holdout: 10", "holdout: 0"), "warning[holdout-none]"),
        (
            ("pattern: quiet-cart", "pattern: loud-cart"),
            "error[file-name]: file name and pattern differ: file=quiet-cart.yaml pattern=loud-cart",
        ),
    ] {
        let found = first(change);
        assert!(
            found.contains(expected),
            "{change:?}\nfound    {found}\nexpected {expected}"
        );
    }
}

/// What stands in `when`, in a file that is otherwise good.
fn when(text: &str) -> String {
    let begin = GOOD.find("  within:").expect("in the file");
    let end = GOOD.find("then:").expect("in the file");
    format!("{}{text}\n{}", &GOOD[..begin], &GOOD[end..])
}

#[test]
fn every_construct_has_its_own_mistakes() {
    for (text, expected) in [
        (
            "  within: 1h\n  all: [{absent: order.completed, for: 5m}]",
            "error[key-missing]: all needs a see",
        ),
        (
            "  within: 1m\n  all: [{see: cart.viewed}, {absent: order.completed, for: 90s}]",
            "error[within-short]: within is shorter than its waits: within=60s waits=90s",
        ),
        (
            "  within: 1h\n  sequence: [{see: cart.viewed}]\n  all: [{see: cart.viewed}]",
            "error[key-conflict]: when takes a sequence or an all, not both",
        ),
        (
            "  within: 1h\n  all: [{see: cart.viewed, within: 5m}]",
            "error[unknown-key]: unknown key: found=within",
        ),
        (
            "  within: 1h\n  sequence: [{see: product.viewed, times: 2, across: {field: product_id, at_least: 3}}]",
            "error[across-times]: times is less than at_least: times=2 at_least=3",
        ),
        (
            "  within: 1h\n  sequence: [{see: cart.viewed}, {absent: order.completed}, {see: product.viewed, across: {field: product_id, at_least: 2}}]",
            "error[across-position]: across cannot stand directly behind an absent without for",
        ),
        (
            "  within: 1h\n  all: [{see: [cart.viewed, product.viewed], across: {field: product_id, at_least: 2}}, {see: cart.viewed}]",
            "error[across-position]: across shares a type with another member",
        ),
        (
            "  within: 1h\n  until: [order.completed]\n  sequence: [{see: cart.viewed}, {see: order.completed}]",
            "error[until-blocks]: until discards what this step needs: type=order.completed",
        ),
        (
            "  within: 1h\n  until: [cart.viewed]\n  sequence: [{see: cart.viewed, times: 2}]",
            "error[until-blocks]: until discards what this step needs: type=cart.viewed",
        ),
        (
            "  within: 1h\n  during: { before: profile.renewal_date, lead: 400d }\n  sequence: [{see: cart.viewed}]",
            "error[range]: lead takes 1ms to 366d",
        ),
        (
            "  within: 1h\n  during: { before: journey.phase, lead: 4d }\n  sequence: [{see: cart.viewed}]",
            "error[value]: during takes a date of the profile: found=journey.phase",
        ),
        (
            "  within: 1h\n  sequence: [{see: cart.product_added, where: event.prodct_id == 'x'}]",
            "warning[field-unlisted]: not in the vocabulary: found=prodct_id nearest=product_id",
        ),
        (
            "  within: 1h\n  sequence: [{see: cart.product_added, where: journey.sentiment.trnd < 0.0}]",
            "warning[field-unlisted]: not in the vocabulary: found=journey.sentiment.trnd nearest=sentiment.trend",
        ),
        (
            "  within: 1h\n  sequence: [{see: cart.product_added, where: journey.promises.refund > 3}]",
            "error[where-type]: cannot compare: left=string right=int",
        ),
    ] {
        let findings: Vec<String> = lint("quiet-cart.yaml", &when(text))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            findings.iter().any(|finding| finding.contains(expected)),
            "{text}\nfound    {findings:#?}\nexpected {expected}"
        );
    }
}

/// `during` in a file's own tests: dates of the profile are given as time since the start.
#[test]
fn a_window_around_a_date_is_tested_like_everything_else() {
    let text =
        when("  within: 1m\n  during: { before: profile.renewal_date, lead: 30d }\n  sequence: [{see: call.started}]");
    let begin = text.find("tests:").expect("in the file");
    let text = format!(
        "{}{}",
        &text[..begin],
        "tests:
  - { name: in the month before, profile: { renewal_date: 20d }, given: [ { at: 0s, is: call.started } ], expect: [ { at: 0s, intervene: notify } ] }
  - { name: too early, profile: { renewal_date: 40d }, given: [ { at: 0s, is: call.started } ], expect: [] }
  - { name: on the day, profile: { renewal_date: 0s }, given: [ { at: 0s, is: call.started } ], expect: [] }
  - { name: no date, given: [ { at: 0s, is: call.started } ], expect: [] }
"
    );
    let pattern = parse("quiet-cart.yaml", &text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    for result in run_tests(&pattern) {
        assert_eq!(result.failure, None, "{}", result.name);
    }
    for (given, found) in [
        ("2026-01-01", "2026-01-01"),
        ("'2026-01-01'", "2026-01-01"),
        ("20", "20"),
        ("-3d", "-3d"),
        ("[20d]", "a list"),
    ] {
        let refused = text.replacen("renewal_date: 20d", &format!("renewal_date: {given}"), 1);
        let findings = parse("quiet-cart.yaml", &refused).expect_err("a date is time since the start");
        let line = 1 + text[..text.find("  - { name: in the month").expect("a test")]
            .matches('\n')
            .count();
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [format!(
                "quiet-cart.yaml:{line}:59: error[duration]: a date in profile is time since the start of the test: found={found}\n  help: a whole number and one of ms s m h d, for example renewal_date: 20d"
            )]
        );
    }
    let unknown = text.replacen("renewal_date: 20d", "renewal_date: null", 1).replacen(
        "expect: [ { at: 0s, intervene: notify } ]",
        "expect: []",
        1,
    );
    let pattern = parse("quiet-cart.yaml", &unknown).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    assert_eq!(run_tests(&pattern)[0].failure, None, "no date, no match");
}

#[test]
fn a_failing_test_says_what_it_got() {
    let text = GOOD.replace("event.value >= 80.0", "(event.value >= 80.0 || missing.x)");
    assert!(parse("quiet-cart.yaml", &text).is_err());
    let failing = GOOD.replace("{ at: 20m, intervene", "{ at: 21m, intervene");
    let pattern = parse("quiet-cart.yaml", &failing).expect("well formed");
    let results = run_tests(&pattern);
    let failure = results[0].failure.as_deref().expect("the deadline is at 20 minutes");
    assert_eq!(failure, "expected: 21m notify; got: 20m notify \"left\"");
    assert_eq!(
        results[0].steps,
        [
            "0s e1 cart.product_added: step 0 sees it, 1 of 1; run since 0s; step 0 is complete; step 1 waits until 20m",
            "20m deadline: step 1 held: nothing came since 0s; step 1 is complete; nothing more is awaited; MATCH, begun 0s: e1",
            "at the end: nothing is open"
        ]
    );
}

/// What stands on `journey.patterns`: a file as JSON, its keys in the file's order.
#[test]
fn the_bytes_of_a_published_pattern_never_change() {
    let file = include_str!("../testdata/pattern-1.yaml");
    let pattern = parse("pattern-1.yaml", file).expect("valid");
    assert_eq!(pattern.canonical, include_str!("../testdata/pattern-1.json").trim_end());
}
