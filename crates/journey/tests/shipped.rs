//! Tests inside pattern files, with events folded into the journey as they are live.

use journey::run_tests;
use pattern::parse;

#[test]
fn patterns_of_the_repository_pass_their_own_tests() {
    let mut files = 0;
    for folder in ["patterns", "tests/ecom/patterns"] {
        let folder = format!("{}/../../{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).expect("the folder is in the repository") {
            let path = entry.expect("a readable entry").path();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            let name = path.to_string_lossy();
            let pattern = parse(&name, &text).unwrap_or_else(|findings| panic!("{findings:#?}"));
            // What stands on the catalogue topic means the same.
            let again = parse(&name, &pattern.canonical).expect("canonical JSON is read back");
            for result in run_tests(&pattern).into_iter().chain(run_tests(&again)) {
                assert_eq!(result.failure, None, "{name}: {}\n{:#?}", result.name, result.steps);
            }
            files += 1;
        }
    }
    assert!(files >= 28, "{files}");
}

/// A pattern of one step with this `where`, and tests.
fn results(condition: &str, tests: &str) -> Vec<Option<String>> {
    let text = format!(
        "pattern: one-step\nversion: 1\ntitle: One\nowner: tests\nstatus: live\nwhen:\n  within: 1m\n  sequence:\n    \
        - {{ see: [call.started, order.completed], where: \"{condition}\" }}\n\
        then: {{ intervene: notify, channels: [email], priority: 1, valid_for: 1h, because: {{ en: x }} }}\n\
        guard: {{ consent: service, cooldown: 1ms }}\nrollout: {{ percent: 100, holdout: 0, seed: one-step-1 }}\ntests:\n{tests}\
        \x20 - {{ name: nothing, given: [], expect: [] }}\n"
    );
    let pattern = parse("one-step.yaml", &text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
    run_tests(&pattern).into_iter().map(|result| result.failure).collect()
}

/// Profile and journey already include the event, and what is given is how they stood before the first one.
#[test]
fn events_are_folded_and_counters_go_on_from_what_is_given() {
    let call = |day: u32| format!("{{ at: {day}d, is: call.started, channel: voice, conversation: c{day} }}");
    let order = "{ at: 0d, is: order.completed, order_id: o1, value: 3.0, currency: EUR }";
    for (condition, tests) in [
        (
            "journey.contacts_7d >= 3",
            format!(
                "  - {{ name: third call, given: [ {}, {}, {} ], expect: [ {{ at: 2d, intervene: notify }} ] }}\n  \
                - {{ name: two before, journey: {{ contacts_7d: 2 }}, given: [ {} ], expect: [ {{ at: 0d, intervene: notify }} ] }}\n",
                call(0),
                call(1),
                call(2),
                call(0)
            ),
        ),
        (
            "profile.value.orders == 1",
            format!(
                "  - {{ name: first order, given: [ {order} ], expect: [ {{ at: 0d, intervene: notify }} ] }}\n  \
                - {{ name: none before, profile: {{ value: {{ orders: 0 }} }}, given: [ {order} ], expect: [ {{ at: 0d, intervene: notify }} ] }}\n  \
                - {{ name: one before, profile: {{ value: {{ orders: 1 }} }}, given: [ {order} ], expect: [] }}\n"
            ),
        ),
        (
            "profile.lang == 'nl'",
            format!(
                "  - {{ name: given, profile: {{ lang: nl }}, given: [ {} ], expect: [ {{ at: 0d, intervene: notify }} ] }}\n  \
                - {{ name: not given, given: [ {} ], expect: [] }}\n",
                call(0),
                call(0)
            ),
        ),
    ] {
        let failures: Vec<String> = results(condition, &tests).into_iter().flatten().collect();
        assert!(failures.is_empty(), "{condition}: {failures:#?}");
    }
}
