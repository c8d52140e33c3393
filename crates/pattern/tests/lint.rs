//! Every code of the linter and every limit of a file, each with the place that it names: line and column, inside a `where` too.

mod good;

use good::GOOD;
use pattern::{lint, parse, unsafe_changes};

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// What stands in `when`, from line 7 on.
fn when(text: &str) -> String {
    let begin = GOOD.find("  within:").expect("in the file");
    let end = GOOD.find("then:").expect("in the file");
    format!("{}{text}\n{}", &GOOD[..begin], &GOOD[end..])
}

/// The `where` of line 10 but for its first half: what follows stands at column 34.
fn condition(text: &str) -> String {
    with("event.value >= 80.0", text)
}

/// Among the findings of each text is this one.
fn check(cases: &[(String, &str)]) {
    for (text, expected) in cases {
        let findings: Vec<String> = lint("quiet-cart.yaml", text)
            .iter()
            .map(|found| {
                format!(
                    "{}:{} {}[{}] {}",
                    found.line,
                    found.column,
                    found.severity.as_str(),
                    found.code,
                    found.message
                )
            })
            .collect();
        assert!(
            findings.iter().any(|found| found == expected),
            "{text}\nexpected {expected}\nfound    {findings:#?}"
        );
    }
}

#[test]
fn the_file_that_all_others_are_made_from_is_good() {
    assert_eq!(lint("quiet-cart.yaml", GOOD), []);
}

#[test]
fn yaml_quotes_and_names() {
    check(&[
        (
            with("version: 1\n", "version: 1\nversion: 2\n"),
            "3:1 error[yaml] duplicate key: key=version",
        ),
        (
            with("owner: cx-web", "owner: &a cx-web"),
            "4:11 error[yaml] anchors, aliases and tags are refused",
        ),
        (
            with("owner: cx-web", "owner: !!str cx-web"),
            "4:14 error[yaml] anchors, aliases and tags are refused",
        ),
        (
            with("when:\n", "when: &x\n"),
            "7:3 error[yaml] anchors, aliases and tags are refused",
        ),
        (
            with("owner: cx-web", "owner: *x"),
            "4:8 error[yaml] anchors, aliases and tags are refused",
        ),
        (
            with("owner: cx-web", "ownre: cx-web"),
            "4:1 error[unknown-key] unknown key: found=ownre nearest=owner",
        ),
        (
            with("    - absent", "      tiems: 2\n    - absent"),
            "11:7 error[unknown-key] unknown key: found=tiems nearest=times",
        ),
        (
            with("where: has(", "where: !has("),
            "10:14 error[quote] where must be quoted: it begins with !",
        ),
        (
            with("where: has(event.value) &", "where: &"),
            "10:14 error[quote] where must be quoted: it begins with &",
        ),
        (
            with("where: has(", "where: *has("),
            "10:14 error[quote] where must be quoted: it begins with *",
        ),
        (
            condition("event.value >= 80.0 # and"),
            "10:14 error[quote] where must be quoted: it contains \" #\"",
        ),
        (
            with("  within", "  wihtin: 1m\n  within"),
            "7:3 error[unknown-key] unknown key: found=wihtin nearest=within",
        ),
        (
            with("pattern: quiet-cart", "pattern: loud-cart"),
            "1:10 error[file-name] file name and pattern differ: file=quiet-cart.yaml pattern=loud-cart",
        ),
    ]);
}

#[test]
fn windows() {
    check(&[
        (
            with("  within: 30m\n", ""),
            "7:3 error[within-missing] within is required: state would have no bound",
        ),
        (
            with("within: 30m", "within: 10m"),
            "11:7 error[within-short] within is shorter than its waits: within=10m waits=20m",
        ),
        (
            when("  within: 1m\n  all: [{see: cart.viewed}, {absent: order.completed, for: 90s}]"),
            "8:29 error[within-short] within is shorter than its waits: within=60s waits=90s",
        ),
        (
            // Of a sequence their sum counts.
            when(
                "  within: 3m\n  sequence:\n    - see: cart.viewed\n    - { absent: exit.intended, for: 90s }\n    - see: cart.viewed\n    - { absent: exit.intended, for: 91s }",
            ),
            "10:7 error[within-short] within is shorter than its waits: within=3m waits=181s",
        ),
        (
            with("within: 30m", "within: 45d"),
            "7:11 error[within-long] within exceeds the limit: within=45d limit=30d",
        ),
        (
            when("  within: 1h\n  sequence:\n    - { see: cart.viewed, within: 5m }"),
            "9:7 error[step-within] first step has no step before it",
        ),
        (
            when("  within: 1h\n  sequence:\n    - { see: cart.viewed }\n    - { see: cart.viewed, within: 2h }"),
            "10:7 error[step-within] step within exceeds within",
        ),
    ]);
}

#[test]
fn steps_that_contradict_each_other() {
    check(&[
        (
            when("  within: 1h\n  sequence:\n    - { absent: order.completed, for: 5m }\n    - { see: cart.viewed }"),
            "9:7 error[absent-first] a sequence cannot begin with absent: nothing starts the wait",
        ),
        (
            with("      for: 20m\n", ""),
            "11:7 error[absent-open] absent needs for: no see follows",
        ),
        (
            when(
                "  within: 1h\n  sequence:\n    - { see: cart.viewed }\n    - { absent: order.completed }\n    - { absent: exit.intended, for: 5m }",
            ),
            "10:7 error[guard-position] absent without for must stand directly before a see",
        ),
        (
            when(
                "  within: 1h\n  sequence:\n    - { see: cart.viewed }\n    - { absent: order.completed }\n    - { see: product.viewed, across: { field: product_id, at_least: 2 } }",
            ),
            "11:7 error[across-position] across cannot stand directly behind an absent without for",
        ),
        (
            when(
                "  within: 1h\n  all:\n    - { see: [cart.viewed, product.viewed], across: { field: product_id, at_least: 2 } }\n    - { see: cart.viewed }",
            ),
            "9:7 error[across-position] across shares a type with another member",
        ),
        (
            when(
                "  within: 1h\n  sequence: [{see: product.viewed, times: 2, across: {field: product_id, at_least: 3}}]",
            ),
            "8:43 error[across-times] times is less than at_least: times=2 at_least=3",
        ),
        (
            when(
                "  within: 1h\n  until: [order.completed]\n  sequence:\n    - { see: cart.viewed }\n    - { see: order.completed }",
            ),
            "11:7 error[until-blocks] until discards what this step needs: type=order.completed",
        ),
    ]);
}

#[test]
fn places_inside_a_where_and_a_sentence() {
    check(&[
        (
            condition("event.value === 80.0"),
            "10:46 error[where-syntax] unexpected token: found====",
        ),
        (
            condition("event.value = 80.0"),
            "10:46 error[where-syntax] unexpected token: found==",
        ),
        (
            condition("event.value >= 'x'"),
            "10:34 error[where-type] cannot compare: left=double right=string",
        ),
        (
            condition("event.items.exists(1)"),
            "10:46 error[where-refused] not supported in where: function=exists",
        ),
        (
            condition("event.items.all(1)"),
            "10:46 error[where-refused] not supported in where: function=all",
        ),
        (
            condition("event.items[0] == 1"),
            "10:45 error[where-refused] not supported in where: indexing",
        ),
        (
            condition("timestamp(event.value) > 3"),
            "10:34 error[where-refused] not supported in where: function=timestamp",
        ),
        (
            condition("viewed.value > 1"),
            "10:34 error[name-unknown] no earlier step captures this name: name=viewed",
        ),
        (
            when(
                "  within: 1h\n  sequence:\n    - { see: cart.viewed, as: viewed }\n    - { see: cart.viewed, where: vieewd.cart_id == 'x' }",
            ),
            "10:34 error[name-unknown] no earlier step captures this name: name=vieewd nearest=viewed",
        ),
        (
            with("en: left", "en: 'left {{ seen[3].count }}'"),
            "13:127 error[template] no such step: seen[3] steps=1",
        ),
        (
            with("en: left", "en: 'left {{ seen[0].count'"),
            "13:127 error[template] template is not closed: }} is missing",
        ),
        (
            with("en: left", "en: 'left {{ who.value }}'"),
            "13:127 error[template] not known in a sentence: found=who.value",
        ),
        (
            condition("event.prodct_id == 'x'"),
            "10:34 warning[field-unlisted] not in the vocabulary: found=prodct_id nearest=product_id",
        ),
        (
            condition("journey.sentiment.trnd < 0.0"),
            "10:34 warning[field-unlisted] not in the vocabulary: found=journey.sentiment.trnd nearest=sentiment.trend",
        ),
        (
            condition("true || profile.renewal_dat == 'x'"),
            "10:42 warning[field-unlisted] not in the vocabulary: found=profile.renewal_dat nearest=renewal_date",
        ),
        (
            when(
                "  within: 1h\n  sequence:\n    - see: cart.viewed\n    - absent: survey.answered\n      where: \"event.reason == 'x'\"\n      for: 5m",
            ),
            "11:15 warning[absent-missing] a missing field leaves the absence unbroken: field=reason",
        ),
    ]);
}

#[test]
fn warnings() {
    check(&[
        (
            with("  within: 30m", "  within: 30m\n  by: [conversation]"),
            "12:7 warning[by-blind] absence may never be broken: type=order.completed need not carry field=conversation",
        ),
        (
            with("  within: 30m", "  within: 30m\n  by: [contract]"),
            "8:3 warning[field-unlisted] not in the vocabulary: found=contract",
        ),
        (
            with("cart.product_added\n", "cart.item_added\n"),
            "9:7 warning[type-unlisted] not in the vocabulary: found=cart.item_added nearest=cart.product_added",
        ),
        (
            with(", cancel_on: [order.completed]", ""),
            "11:7 warning[cancel-open] cancel_on does not name what was awaited: type=order.completed",
        ),
        (
            with("channels: [email]", "channels: [voice]"),
            "13:28 warning[route-missing] channel needs a person: channel=voice route=none",
        ),
        (
            with(
                "is: order.completed } ], expect: []",
                "is: page.viewed } ], expect: [ { at: 20m, intervene: notify } ]",
            ),
            "16:1 warning[tests-one-sided] no test expects nothing",
        ),
        (
            with("expect: [ { at: 20m, intervene: notify } ]", "expect: []"),
            "16:1 warning[tests-one-sided] no test expects an intervention",
        ),
        (
            with("en: left", "en: 'left {{ by.reason }}'"),
            "13:106 warning[template] a sentence reads what by does not name: field=reason",
        ),
        (
            with("en: left", "en: 'left {{ journey.phas }}'"),
            "13:106 warning[field-unlisted] not in the vocabulary: found=journey.phas nearest=phase",
        ),
        (
            when("  within: 1h\n  during: { before: profile.renewal_dat, lead: 5d }\n  sequence: [{see: cart.viewed}]"),
            "8:3 warning[field-unlisted] not in the vocabulary: found=profile.renewal_dat nearest=renewal_date",
        ),
        (
            with("holdout: 10", "holdout: 0"),
            "15:26 warning[holdout-none] live without holdout: uplift cannot be measured",
        ),
    ]);
}

/// What an event may lack is asked for first; what its type carries, or what another side decides, is not.
#[test]
fn fields_that_may_be_missing() {
    let step = |text: &str| {
        when(&format!(
            "  within: 1h\n  sequence:\n    - see: [checkout.step_viewed, cart.product_added]\n      as: a\n    - see: page.viewed\n      where: \"{text}\""
        ))
    };
    let found = |text: &str| -> Vec<String> {
        let all = lint("quiet-cart.yaml", text);
        let told = all
            .iter()
            .filter(|found| !["holdout-none", "where-constant"].contains(&found.code));
        told.map(|found| format!("{}:{} {} {}", found.line, found.column, found.code, found.message))
            .collect()
    };
    let missing = |at: &str, field: &str| {
        format!("{at} field-optional a missing field is no match, and is counted as an error: field={field}")
    };
    for (text, expected) in [
        ("event.url == 'x'", None),
        ("event.channel == 'web'", None),
        ("event.brand == 'x'", Some("event.brand")),
        ("has(event.brand) && event.brand == 'x'", None),
        ("event.brand == 'x' && has(event.brand)", None),
        ("!has(event.brand) || event.brand == 'x'", None),
        ("has(event.brand) || event.brand == 'x'", Some("event.brand")),
        ("has(event.brand) ? event.brand == 'x' : true", None),
        ("has(event.brand) ? true : event.brand == 'x'", Some("event.brand")),
        ("!(!has(event.brand) || event.brand != 'x')", None),
        ("event.type != 'page.viewed' && event.brand == 'x'", None),
        ("event.type in ['page.viewed'] || event.brand == 'x'", None),
        ("true || event.brand == 'x'", None),
        ("a.step == 'x'", Some("a.step")),
        ("a.type == 'cart.product_added' || has(a.step) && a.step == 'x'", None),
        ("journey.phase == 'service'", None),
        ("journey.sentiment.signals.urgency > 0.5", None),
        ("journey.sentiment.mean < 0.0", Some("journey.sentiment.mean")),
        ("journey.promises.refund == 'open'", Some("journey.promises.refund")),
        ("profile.value.band == 'high'", Some("profile.value.band")),
        ("has(profile.value.band) && profile.value.band == 'high'", None),
    ] {
        let read = found(&step(text));
        let expected: Vec<String> = expected
            .map(|field| {
                let column = text
                    .find(field)
                    .filter(|_| !text.starts_with("has("))
                    .unwrap_or_else(|| text.rfind(field).expect("read"));
                missing(&format!("12:{}", column + 15), field)
            })
            .into_iter()
            .collect();
        assert_eq!(read, expected, "{text}");
    }
    // Of each of several types it is asked by itself.
    let mixed = |text: &str| {
        when(&format!(
            "  within: 1h\n  sequence:\n    - see: [checkout.step_viewed, cart.product_added]\n      where: \"{text}\""
        ))
    };
    assert_eq!(found(&mixed("event.step == 'x'")), [missing("10:15", "event.step")]);
    assert_eq!(
        found(&mixed("event.type == 'cart.product_added' || event.step == 'x'")),
        Vec::<String>::new()
    );
    // What a type of one's own carries is not known.
    let own = when("  within: 1h\n  sequence:\n    - see: own.type\n      where: \"event.brand == 'x'\"");
    assert_eq!(found(&own), ["9:7 type-unlisted not in the vocabulary: found=own.type"]);
}

#[test]
fn values_and_members_that_nothing_has() {
    check(&[
        (
            condition("journey.promises.refund == 'opne'"),
            "10:34 warning[value-unlisted] promises.refund is never this: found=opne nearest=open",
        ),
        (
            condition("event.channel in ['web', 'mail']"),
            "10:34 warning[value-unlisted] channel is never this: found=mail nearest=email",
        ),
        (
            condition("'cart.product_add' != event.type"),
            "10:56 warning[value-unlisted] type is never this: found=cart.product_add nearest=cart.product_added",
        ),
        (
            condition("journey.promises.refnd == 'open'"),
            "10:34 warning[field-unlisted] not in the vocabulary: found=journey.promises.refnd nearest=refund",
        ),
        (
            condition("journey.sentiment.signals.nonsense > 0.5"),
            "10:34 warning[field-unlisted] not in the vocabulary: found=journey.sentiment.signals.nonsense",
        ),
        (
            condition("profile.consent.nope == 'granted'"),
            "10:34 warning[field-unlisted] not in the vocabulary: found=profile.consent.nope",
        ),
        (
            with("en: left", "en: 'left {{ seen[0].last.time }}'"),
            "13:106 warning[field-unlisted] not in the vocabulary: found=time",
        ),
    ]);
    let fine = condition("has(journey.promises.visit) && journey.promises.visit in ['open', 'kept']");
    assert_eq!(lint("quiet-cart.yaml", &fine), [], "promise.made may name it");
}

/// A misspelt type is told in the first round, though something else keeps the file from being used.
/// What a `where` of the first step says alone: it stands at column 14.
fn alone(text: &str) -> String {
    with("has(event.value) && event.value >= 80.0", text)
}

#[test]
fn conditions_that_ask_nothing() {
    check(&[
        (alone("1 < 2"), "10:14 warning[where-constant] where is always true"),
        (
            alone("\"'a' in ['a', 'b']\""),
            "10:15 warning[where-constant] where is always true",
        ),
        (alone("2 < 1"), "10:14 warning[where-constant] where is never true"),
        (alone("1 / 0 > 0"), "10:14 warning[where-constant] where is never true"),
        (
            alone("has(event.url) && event.url == 'a' || true"),
            "10:14 warning[where-constant] where is always true",
        ),
        (
            condition("1 < 2"),
            "10:34 warning[where-constant] a part of where is always true",
        ),
        (
            condition("(event.value > 5.0 || 2.0 * 2.0 == 5.0)"),
            "10:56 warning[where-constant] a part of where is never true",
        ),
        (
            condition("event.value > 5.0 && event.value < 3.0"),
            "10:14 warning[where-constant] where is never true: field=event.value",
        ),
        (
            condition("event.value >= 5.0 && 5 > event.value"),
            "10:14 warning[where-constant] where is never true: field=event.value",
        ),
        (
            condition("(event.channel == 'web' && event.channel == 'chat' || event.value > 1.0)"),
            "10:35 warning[where-constant] a part of where is never true: field=event.channel",
        ),
        (
            condition("event.channel in ['web', 'chat'] && !(event.channel != 'email')"),
            "10:14 warning[where-constant] where is never true: field=event.channel",
        ),
        (
            condition("!has(event.value)"),
            "10:14 warning[where-constant] where is never true: field=event.value",
        ),
        (
            alone("event.channel != 'web' || event.channel != 'chat'"),
            "10:14 warning[where-constant] where is always true: field=event.channel",
        ),
        (
            condition("(event.value > 1.0 || event.value <= 1.0)"),
            "10:35 warning[where-constant] a part of where is always true: field=event.value",
        ),
        (
            with(
                "- absent: order.completed",
                "- absent: order.completed\n      where: 1 > 2",
            ),
            "12:14 warning[where-constant] where is never true",
        ),
    ]);
    for fine in [
        "has(event.value) ? event.value > 1.0 : false",
        "has(event.value) && event.value >= 5.0 && event.value <= 5.0",
        "has(event.value) && (event.value < 1.0 || event.value > 1.0)",
        "has(event.value) && (event.value > 1.0 || event.value > 5.0)",
        "event.channel != 'web' && event.channel != 'chat'",
        "event.channel in ['web', 'chat'] && event.channel != 'web'",
        "!has(event.value) || event.value == 1.0",
        "has(event.value) || event.channel == 'web'",
    ] {
        assert_eq!(lint("quiet-cart.yaml", &alone(&format!("\"{fine}\""))), [], "{fine}");
    }
}

#[test]
fn plain_words_that_other_readers_take_for_something_else() {
    let title = |text: &str| with("A cart is left", text);
    check(&[
        (
            title("2026-01-01"),
            "3:8 error[type] title must be a text: found=2026-01-01",
        ),
        (
            title("2026-1-1 10:00:00"),
            "3:8 error[type] title must be a text: found=2026-1-1 10:00:00",
        ),
        (
            title("2026-01-01T10:00:00Z"),
            "3:8 error[type] title must be a text: found=2026-01-01T10:00:00Z",
        ),
        (title("0x1F"), "3:8 error[type] title must be a text: found=0x1F"),
        (title("0o17"), "3:8 error[type] title must be a text: found=0o17"),
        (title("-.Inf"), "3:8 error[type] title must be a text: found=-.Inf"),
        (title(".nan"), "3:8 error[type] title must be a text: found=.nan"),
        (title("12.5"), "3:8 error[type] title must be a text: found=12.5"),
    ]);
    for fine in [
        "\"2026-01-01\"",
        "2026-01-01 winter sale",
        "2026-01",
        "2026-01-010",
        "0xylophone",
        ".infinite",
    ] {
        assert_eq!(lint("quiet-cart.yaml", &title(fine)), [], "{fine}");
    }
}

#[test]
fn types_are_looked_up_in_a_file_that_has_errors() {
    let text = with("cart.product_added\n", "cart.product_aded\n").replace("owner: cx-web", "owner: cx_web");
    let found: Vec<String> = lint("quiet-cart.yaml", &text).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "quiet-cart.yaml:4:8: error[id]: owner must be 3 to 63 of a-z, 0-9 and -, beginning with a letter: found=cx_web\n  help: for example cx-web",
            "quiet-cart.yaml:9:7: warning[type-unlisted]: not in the vocabulary: found=cart.product_aded nearest=cart.product_added",
        ]
    );
}

/// Codes of `diff` and `apply`, at the key that must change.
#[test]
fn unsafe_changes_are_named_where_they_stand() {
    let old = parse("quiet-cart.yaml", GOOD).expect("valid");
    for (from, to, expected) in [
        (
            "within: 30m",
            "within: 29m",
            "2:1 version-same when changed under one version: version=1",
        ),
        (
            "holdout: 10",
            "holdout: 20",
            "15:26 arm-changed seed or holdout changed on a live pattern: was=10 is=20",
        ),
        (
            "seed: quiet-cart-1",
            "seed: quiet-cart-2",
            "15:39 arm-changed seed or holdout changed on a live pattern: was=quiet-cart-1 is=quiet-cart-2",
        ),
    ] {
        let text = with(from, to);
        let new = parse("quiet-cart.yaml", &text).expect("valid");
        let found: Vec<String> = unsafe_changes("quiet-cart.yaml", &text, &old, &new)
            .iter()
            .map(|found| format!("{}:{} {} {}", found.line, found.column, found.code, found.message))
            .collect();
        assert_eq!(found, [expected]);
    }
}

/// Each limit holds at its figure, and one beyond is refused.
#[test]
fn limits() {
    let types = |count: usize| {
        (0..count)
            .map(|number| format!("x.t{number}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let steps = |count: usize| vec!["{see: cart.viewed}"; count].join(", ");
    let during = |span: &str| {
        when(&format!(
            "  within: 1h\n  during: {{ before: profile.renewal_date, lead: {span} }}\n  sequence: [{{see: cart.viewed}}]"
        ))
    };
    let after = |span: &str| {
        when(&format!(
            "  within: 1h\n  during: {{ after: profile.renewal_date, lag: {span} }}\n  sequence: [{{see: cart.viewed}}]"
        ))
    };
    let sequence = |steps: &str| when(&format!("  within: 1h\n  sequence: [{steps}]"));
    let across = |least: usize| {
        sequence(&format!(
            "{{see: product.viewed, times: 20, across: {{field: product_id, at_least: {least}}}}}"
        ))
    };
    let long = |characters: usize| {
        condition(&format!(
            "event.value >= 80.0{}",
            " || true".repeat((characters - 41) / 8)
        ))
    };
    let tests = |count: usize| {
        let more = (2..count).map(|number| format!("  - {{ name: more-{number}, given: [], expect: [] }}\n"));
        format!("{GOOD}{}", more.collect::<String>())
    };
    let events = |count: usize| {
        let given = vec!["{ at: 0s, is: cart.viewed }"; count].join(", ");
        format!("{GOOD}  - {{ name: many, given: [{given}], expect: [] }}\n")
    };
    let file = |bytes: usize| format!("{GOOD}#{}", " ".repeat(bytes - GOOD.len() - 1));
    let within = |span: &str| with("within: 30m", &format!("within: {span}"));
    let by = |fields: &str| with("  within: 30m", &format!("  within: 30m\n  by: [{fields}]"));
    for (at_most, beyond, expected) in [
        (
            within("30d"),
            within("31d"),
            "7:11 error[within-long] within exceeds the limit: within=31d limit=30d",
        ),
        (
            during("366d"),
            during("367d"),
            "8:49 error[range] lead takes 1ms to 366d: found=367d",
        ),
        (
            after("366d"),
            after("367d"),
            "8:47 error[range] lag takes 1ms to 366d: found=367d",
        ),
        (
            sequence(&steps(8)),
            sequence(&steps(9)),
            "8:13 error[range] sequence takes 1 to 8 steps: found=9",
        ),
        (
            sequence(&format!("{{see: [{}]}}", types(16))),
            sequence(&format!("{{see: [{}]}}", types(17))),
            "8:20 error[range] see takes 1 to 16: found=17",
        ),
        (
            sequence("{see: cart.viewed, times: 100}"),
            sequence("{see: cart.viewed, times: 101}"),
            "8:40 error[range] times must be a whole number from 1 to 100: found=101",
        ),
        (
            across(16),
            across(17),
            "8:85 error[range] at_least must be a whole number from 2 to 16: found=17",
        ),
        (
            by("channel, session, conversation"),
            by("channel, session, conversation, role"),
            "8:7 error[range] by takes 1 to 3: found=4",
        ),
        (
            long(1000),
            long(1009),
            "10:14 error[range] where is longer than 1,000 characters",
        ),
        (
            file(65_536),
            file(65_537),
            "1:1 error[range] the file is too large: bytes=65537 limit=65536",
        ),
        (
            tests(64),
            tests(65),
            "17:3 error[range] a pattern has 2 to 64 tests: found=65",
        ),
        (
            events(200),
            events(201),
            "19:26 error[range] a test has at most 200 events: found=201",
        ),
    ] {
        assert!(
            parse("quiet-cart.yaml", &at_most).is_ok(),
            "{:?}\n{at_most}",
            lint("quiet-cart.yaml", &at_most)
        );
        check(&[(beyond, expected)]);
    }
}

/// One mistake is one finding.
#[test]
fn nothing_is_told_that_only_follows() {
    for (text, code) in [
        (with("where: has(", "where: !has("), "quote"),
        (condition("event.s == 'a #b'"), "quote"),
        (with("owner: cx-web", "ownre: cx-web"), "unknown-key"),
        (with("owner: cx-web", "owner: *x"), "yaml"),
        (with("  within: 30m", "  wihtin: 30m"), "unknown-key"),
        (with("    - see: cart", "    - sea: cart"), "unknown-key"),
        (with("    - absent: order", "    - abesnt: order"), "unknown-key"),
        (condition("event.prodct_id == 'x'"), "field-unlisted"),
    ] {
        let codes: Vec<&str> = lint("quiet-cart.yaml", &text).iter().map(|found| found.code).collect();
        assert_eq!(codes, [code], "{text}");
    }
}

/// One mistake is one finding.
#[test]
fn a_when_that_cannot_be_read_does_not_condemn_the_sentences() {
    let text = with("within: 30m", "within: 30").replace("en: left", "en: 'left {{ seen[0].count }}'");
    let codes: Vec<&str> = lint("quiet-cart.yaml", &text).iter().map(|found| found.code).collect();
    assert_eq!(codes, ["duration"]);
}

#[test]
fn what_the_schema_refuses_is_refused() {
    check(&[
        (
            with("priority: 10", "priority: \"10\""),
            "13:57 error[range] priority must be a whole number from 0 to 100: found=10",
        ),
        (
            with("within: 30m", "within: 0s"),
            "7:11 error[duration] within must be longer than nothing: found=0s",
        ),
        (
            with("within: 30m", "within: 99999999999999999999d"),
            "7:11 error[duration] within is longer than any time that is counted: found=99999999999999999999d",
        ),
        (
            with("quiet_hours: 22:00-07:00", "quiet_hours: 08:00-08:00"),
            "14:55 error[value] quiet_hours end when they begin: found=08:00-08:00",
        ),
        (
            with(
                "{ at: 1m, is: order.completed }",
                "{ at: 1m, id: e1, is: order.completed }",
            ),
            "18:77 error[duplicate] a test names this id twice: id=e1",
        ),
    ]);
}

/// What a newcomer from another language writes, and what helps.
#[test]
fn hints() {
    for (text, help) in [
        (condition("event.value = 80.0"), "equality is written =="),
        (condition("event.value > 1.0 and true"), "both is written &&"),
        (condition("event.value > 1.0 or true"), "either is written ||"),
        (
            with("intervene: notify, channels", "intervene: Chat-offer, channels"),
            "for example chat_offer",
        ),
        (
            with("because: { en: left }", "because: left"),
            "for example { en: \"looked {{ seen[0].count }} times\" }",
        ),
        (
            with("within: 30m", "within: 30 minutes"),
            "a whole number and one of ms s m h d, for example 90s",
        ),
        (
            condition("event.time > 3"),
            "time belongs to the steps: `within`, `for` and `during` speak of it",
        ),
        (
            with("within: 30m", "within: 30"),
            "a unit is missing: 30s, 30m, 30h or 30d",
        ),
        (with("priority: 10", "priority: \"10\""), "without quotes it is one: 10"),
        (condition("event.product_id == 123"), "product_id is a text: '123'"),
        (
            condition("event.product_id in ['a', 123]"),
            "product_id is a text: '123'",
        ),
        (
            condition("event.value >= '80'"),
            "value is a number, without quotes: 80",
        ),
        (condition("event.value + 1 > 80.0"), "write 1.0"),
        (
            with(
                "{ at: 1m, is: order.completed }",
                "{ at: 1m, is: order.completed, channel: mail }",
            ),
            "known: unknown, web, mobile, voice, social, chat, email, messaging, sms, self_service, store, video, business, agent, system",
        ),
        (condition("event.value < double(event.product_id) + 1"), "write 1.0"),
        (
            condition("journey.promises.refund == 'opne'"),
            "known: open, kept, broken, released",
        ),
        (
            condition("profile.consent.servise == 'granted'"),
            "known: service, marketing, profiling",
        ),
        (
            condition("event.brand == 'x'"),
            "where it may be missing: has(event.brand) && …",
        ),
        (condition("event.brand == acme"), "a text stands in quotes: 'acme'"),
        (
            condition("event.brand == \u{2018}acme\u{2019}"),
            "quotes are straight: 'text'",
        ),
        (
            condition("profile.renewal_date > 'May'"),
            "renewal_date is a time in milliseconds; a window about it is a during",
        ),
        (with("  within: 30m", "\twithin: 30m"), "indent with blanks"),
        (
            with("owner: cx-web", "owner: cx: web"),
            "a text with a colon and a blank in it stands in quotes; entries of a list begin with a dash; keys of one mapping begin in one column",
        ),
        (with("expect: []", "expect: none"), "an empty one is []"),
    ] {
        let findings = lint("quiet-cart.yaml", &text);
        assert!(
            findings.iter().any(|found| found.help.as_deref() == Some(help)),
            "{help}\n{findings:#?}"
        );
    }
}
