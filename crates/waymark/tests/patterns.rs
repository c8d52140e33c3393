//! `waymark pattern` as an analyst uses it: nothing but files, no broker and no configuration.

mod binary;

use std::{fmt::Write as _, path::Path, process::Output};

use binary::waymark;
use serde_json::Value;

fn run(words: &[&str]) -> Output {
    waymark(&[], words).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code, stdout and stderr.
fn said(words: &[&str]) -> (i32, String, String) {
    let output = run(words);
    (
        output.status.code().expect("an exit code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("a path").to_owned()
}

#[test]
fn a_new_pattern_is_written_once_and_passes() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = path(dir.path(), "patterns");
    for from in ["sequence", "count", "absence"] {
        let name = format!("new-{from}");
        let words = ["pattern", "new", &name, "--from", from, "--dir", &folder];
        let (code, made, _) = said(&words);
        assert_eq!((code, made.trim()), (0, &*format!("{folder}/{name}.yaml")));
        assert_eq!(said(&words).0, 5, "never written over");
    }
    let (code, out, err) = said(&["pattern", "lint", &folder, "--deny", "warnings"]);
    assert_eq!((code, out.trim()), (0, "files 3, errors 0, warnings 0"), "{err}");
    let junit = path(dir.path(), "junit.xml");
    let (code, out, _) = said(&["pattern", "test", &folder, "--junit", &junit]);
    assert_eq!(code, 0);
    assert!(out.ends_with("tests 6, failed 0\n"), "{out}");
    let xml = std::fs::read_to_string(&junit).expect("written");
    assert!(xml.contains("<testsuites name=\"waymark pattern test\" tests=\"6\" failures=\"0\" errors=\"0\">"));
    assert_eq!(said(&["pattern", "new", "Upper Case"]).0, 2, "no id");

    // One test fails, one file cannot be used.
    let broken = path(dir.path(), "patterns/new-count.yaml");
    let count = std::fs::read_to_string(&broken).expect("there");
    std::fs::write(&broken, count.replace("times: 3", "times: 2")).expect("written");
    std::fs::write(dir.path().join("patterns/other.yaml"), "pattern: other\n").expect("written");
    let (code, out, err) = said(&["pattern", "test", &folder, "--junit", &junit]);
    assert_eq!(code, 1);
    assert!(
        out.contains("FAILED  new-count: three times in one conversation"),
        "{out}"
    );
    assert!(
        err.contains("other.yaml:1:1: error[key-missing]: a key is missing: key=version"),
        "{err}"
    );
    let xml = std::fs::read_to_string(&junit).expect("written");
    assert!(
        xml.contains("type=\"expectation\"") && xml.contains("type=\"key-missing\""),
        "{xml}"
    );
}

#[test]
fn findings_are_data_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = path(dir.path(), "x.yaml");
    std::fs::write(&file, "pattern: [\n").expect("written");
    let (code, out, _) = said(&["pattern", "lint", &file, "--output", "json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&out).expect("one object");
    let finding = &report["findings"][0];
    assert_eq!(
        (&report["format"], &report["ok"]),
        (&"waymark.cli/1".into(), &false.into())
    );
    assert_eq!(
        (&finding["code"], &finding["severity"]),
        (&"yaml".into(), &"error".into())
    );
    assert!(finding["line"].as_u64().is_some() && finding["column"].as_u64().is_some());
    let (code, _, err) = said(&["pattern", "lint", "/nowhere"]);
    assert_eq!(code, 3);
    assert!(err.contains("/nowhere: cannot be read"), "{err}");
    let (code, out, _) = said(&["pattern", "lint", "/nowhere", "--output", "json"]);
    let report: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(
        (code, &report["ok"], &report["findings"][0]["severity"]),
        (3, &false.into(), &"error".into())
    );
    let (code, out, _) = said(&["pattern", "schema"]);
    let schema: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &schema["$id"]), (0, &"urn:waymark:schema:pattern".into()));
}

/// `a.a` is awaited after each of many; customers look twice at products and leave.
const WAIT: &str = "pattern: left-alone\nversion: 1\ntitle: Looks and leaves\nowner: team\nstatus: live\nwhen:\n  within: 1h\n  sequence:\n    \
    - { see: product.viewed, times: 2 }\n    - { absent: order.completed, for: 10m }\n\
    then: { intervene: notify, channels: [email], priority: 1, valid_for: 1h, cancel_on: [order.completed], because: { en: x } }\n\
    guard: { consent: service, cooldown: 1h }\nrollout: { percent: 100, holdout: 50, seed: left-alone-1 }\ntests:\n  \
    - { name: one, given: [ { at: 0s, is: product.viewed }, { at: 1s, is: product.viewed } ], expect: [ { at: 601s, intervene: notify } ] }\n  \
    - { name: none, given: [], expect: [] }\n";

/// Rows in no order: customer n looks at minutes n and n + 1; every third one orders five minutes later.
fn rows(customers: i64) -> String {
    let mut rows = Vec::new();
    for customer in 0..customers {
        let minute = |minute: i64| 1_795_266_000_000 + (customer + minute) * 60_000;
        for (look, at) in [(1, minute(0)), (2, minute(1))] {
            rows.push(format!("v{customer}-{look},{at},c{customer:05},product.viewed,p{look}"));
        }
        if customer % 3 == 0 {
            rows.push(format!("o{customer},{},c{customer:05},order.completed,", minute(6)));
        }
    }
    rows.sort_by_key(|row| blake3::hash(row.as_bytes()).as_bytes().to_vec());
    let mut text = String::from("id,time,customer,type,product_id\n");
    for row in rows {
        let _ = writeln!(text, "{row}");
    }
    text
}

#[test]
fn a_backtest_streams_matches_in_order_whatever_fits_into_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("left-alone.yaml"), WAIT).expect("written");
    let pattern = path(dir.path(), "left-alone.yaml");
    let customers: i64 = 12_000;
    let events = path(dir.path(), "events.csv.gz");
    let file = std::fs::File::create(&events).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, rows(customers).as_bytes()).expect("written");
    gzip.finish().expect("written");
    let words = ["pattern", "backtest", "--patterns", &pattern, "--events", &events];
    let (code, whole, summary) = said(&words);
    assert_eq!(code, 0, "{summary}");
    let lines: Vec<Value> = whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // The last rows lie within ten minutes of the end: their waits are open, and not fired.
    let found: Vec<i64> = lines
        .iter()
        .map(|line| {
            line["customer"]
                .as_str()
                .and_then(|name| name[1..].parse().ok())
                .expect("a customer")
        })
        .collect();
    // The last row is the order of the last customer but two, six minutes after the first look.
    let last = customers - 3 + 6;
    let expected: Vec<i64> = (0..customers).filter(|c| c % 3 != 0 && c + 11 <= last).collect();
    assert_eq!(found, expected);
    assert_eq!(
        lines[0].to_string(),
        "{\"at\":\"2026-11-21T13:12:00.000Z\",\"customer\":\"c00001\",\"pattern\":\"left-alone\",\"version\":1,\"by\":{},\
         \"intervene\":\"notify\",\"seen\":[{\"step\":0,\"count\":2,\"events\":[\"v1-1\",\"v1-2\"]}],\
         \"absent\":[{\"step\":1,\"since\":\"2026-11-21T13:02:00.000Z\",\"until\":\"2026-11-21T13:12:00.000Z\"}]}"
    );
    assert!(summary.contains(&format!("matches {}", expected.len())), "{summary}");
    assert!(
        summary.contains("withheld: holdout ") && summary.contains("open waits "),
        "{summary}"
    );
    // One MiB of events in memory: the rest is sorted on the disk, and everything comes out the same.
    let (code, small, _) = said(&[&words[..], &["--memory", "1"]].concat());
    assert_eq!((code, small == whole), (0, true));
    let (_, drained, _) = said(&[&words[..], &["--drain"]].concat());
    assert_eq!(
        drained.lines().count() as i64,
        (0..customers).filter(|c| c % 3 != 0).count() as i64
    );
    let between = ["--since", "2026-11-21T14:00:00Z", "--until", "2026-11-21T15:00:00Z"];
    let (_, hour, _) = said(&[&words[..], &between].concat());
    assert_eq!(
        hour.lines().count(),
        40,
        "sixty customers come in an hour, twenty order"
    );
    let (_, json, _) = said(&[&words[..], &["--output", "json"]].concat());
    let report: Value = serde_json::from_str(json.lines().last().expect("a last line")).expect("JSON");
    assert_eq!(report["data"]["matches"], expected.len());
}

/// Lines that others read: frozen, values by which events are joined with their type.
#[test]
fn the_lines_of_a_backtest_are_as_they_were() {
    let dir = tempfile::tempdir().expect("a directory");
    let (pattern, events) = (path(dir.path(), "joined.yaml"), path(dir.path(), "events.jsonl"));
    let joined = WAIT
        .replace("left-alone", "joined")
        .replace("within: 1h\n", "within: 1m\n  by: [k]\n")
        .replace("{ see: product.viewed, times: 2 }", "see: own.begun")
        .replace("{ absent: order.completed, for: 10m }", "see: own.ended")
        .replace(
            "given: [ { at: 0s, is: product.viewed }, { at: 1s, is: product.viewed } ], expect: [ { at: 601s, intervene: notify } ]",
            "given: [], expect: []",
        );
    std::fs::write(&pattern, joined).expect("written");
    let mut rows = String::new();
    for (index, value) in ["7", "\"7\"", "true", "7.5", "[\"a\",\"b\"]"].iter().enumerate() {
        for (step, kind) in ["own.begun", "own.ended"].iter().enumerate() {
            let number = 2 * index + step;
            let time = 1_795_266_000_000_usize + 1000 * number;
            let _ = writeln!(
                rows,
                r#"{{"id":"e{}","time":{time},"customer":"anna","type":"{kind}","k":{value}}}"#,
                number + 1
            );
        }
    }
    std::fs::write(&events, rows).expect("written");
    let (code, out, err) = said(&["pattern", "backtest", "--patterns", &pattern, "--events", &events]);
    assert_eq!(
        (code, out.as_str()),
        (0, include_str!("../testdata/backtest-1.jsonl")),
        "{err}"
    );
}

#[test]
fn a_row_that_cannot_be_read_is_named_and_nothing_is_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("left-alone.yaml"), WAIT).expect("written");
    let pattern = path(dir.path(), "left-alone.yaml");
    let events = path(dir.path(), "events.csv");
    std::fs::write(
        &events,
        "id,time,customer,type\n1,5,a,product.viewed\n2,later,a,product.viewed\n",
    )
    .expect("written");
    let words = [
        "pattern",
        "backtest",
        "left-alone",
        "--patterns",
        &pattern,
        "--events",
        &events,
    ];
    let (code, out, err) = said(&words);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(
        err.contains("events.csv:3:3: error[row]: time cannot be read: column=time found=later"),
        "{err}"
    );
    let (code, out, _) = said(&[&words[..], &["--output", "json"]].concat());
    let report: Value = serde_json::from_str(&out).expect("one object");
    assert_eq!(
        (code, &report["findings"][0]["line"], &report["findings"][0]["column"]),
        (3, &3.into(), &3.into())
    );
    let (code, _, err) = said(&[
        "pattern",
        "backtest",
        "left-alon",
        "--patterns",
        &pattern,
        "--events",
        &events,
    ]);
    assert_eq!(code, 3);
    assert!(
        err.contains("no such pattern: found=left-alon nearest=left-alone"),
        "{err}"
    );
}

#[test]
fn a_difference_is_named_with_the_matches_that_it_gains_and_loses() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (path(dir.path(), "old.yaml"), path(dir.path(), "new.yaml"));
    let events = path(dir.path(), "events.csv");
    std::fs::write(&old, WAIT).expect("written");
    std::fs::write(&events, rows(30)).expect("written");
    let changed = |from: &str, to: &str| {
        assert!(WAIT.contains(from));
        let text = WAIT
            .replace(from, to)
            .replace("at: 601s", if to.contains("3m") { "at: 181s" } else { "at: 601s" });
        std::fs::write(&new, text).expect("written");
    };
    changed("for: 10m", "for: 600s");
    assert_eq!(
        said(&["pattern", "diff", &old, &new]),
        (0, "no difference in meaning\n".to_owned(), String::new())
    );
    changed("for: 10m", "for: 3m");
    let (code, out, err) = said(&["pattern", "diff", &old, &new]);
    assert_eq!(code, 5, "{out}");
    assert!(out.contains("when.sequence[1].for: 10m -> 3m"), "{out}");
    assert!(
        err.contains("new.yaml:2:1: error[version-same]: when changed under one version: version=1"),
        "{err}"
    );
    let text = std::fs::read_to_string(&new).expect("there");
    std::fs::write(&new, text.replace("version: 1", "version: 2")).expect("written");
    let (code, out, err) = said(&[
        "pattern", "diff", &old, &new, "--events", &events, "--drain", "--output", "json",
    ]);
    assert_eq!((code, err.as_str()), (1, ""));
    let data = &serde_json::from_str::<Value>(&out).expect("one object")["data"];
    let count = |name: &str| data[name].as_array().map(Vec::len);
    assert_eq!(
        (count("gained"), count("lost"), &data["kept"]),
        (Some(30), Some(20), &0.into())
    );
    assert_eq!(count("moved"), Some(20), "the same evidence, seven minutes sooner");
    changed("holdout: 50", "holdout: 10");
    let (code, _, err) = said(&["pattern", "diff", &old, &new]);
    assert_eq!(code, 5);
    assert!(
        err.contains("error[arm-changed]: seed or holdout changed on a live pattern: was=50 is=10"),
        "{err}"
    );
}

/// The same events are the evidence, and fewer count beside them: the match is kept.
#[test]
fn a_match_that_counts_otherwise_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let [old, new, events] = ["old.yaml", "new.yaml", "events.csv"].map(|name| path(dir.path(), name));
    let ordered = WAIT
        .replace("{ absent: order.completed, for: 10m }", "see: order.completed")
        .replace(
            "given: [ { at: 0s, is: product.viewed }, { at: 1s, is: product.viewed } ], expect: [ { at: 601s, intervene: notify } ]",
            "given: [], expect: []",
        );
    std::fs::write(&old, &ordered).expect("written");
    let shorter = ordered
        .replace("version: 1", "version: 2")
        .replace("within: 1h", "within: 1m");
    std::fs::write(&new, shorter).expect("written");
    let rows = "id,time,customer,type\n1,0,a,product.viewed\n2,300000,a,product.viewed\n3,310000,a,product.viewed\n4,320000,a,order.completed\n";
    std::fs::write(&events, rows).expect("written");
    let words = ["pattern", "diff", &old, &new, "--events", &events];
    let (code, out, _) = said(&words);
    assert_eq!(code, 1);
    assert!(
        out.contains("\"count\":2") && out.contains("(count was [3,1])\n"),
        "{out}"
    );
    assert!(
        out.contains("matches: kept 1 (1 with another count), gained 0, lost 0\n"),
        "{out}"
    );
    let (_, out, _) = said(&[&words[..], &["--output", "json"]].concat());
    let data = &serde_json::from_str::<Value>(&out).expect("one object")["data"];
    let recounted = &data["recounted"][0];
    assert_eq!(
        (&data["kept"], &recounted["was"], &recounted["is"]["seen"][0]["count"]),
        (&1.into(), &serde_json::json!([3, 1]), &2.into())
    );
}

#[test]
fn an_explanation_says_why_and_why_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let pattern = WAIT.replace(
        "{ see: product.viewed, times: 2 }",
        "{ see: product.viewed, times: 2, where: event.price > 10.0 }",
    );
    let pattern = pattern.replace("is: product.viewed", "is: product.viewed, price: 11.0");
    std::fs::write(dir.path().join("left-alone.yaml"), pattern).expect("written");
    let (pattern, events) = (path(dir.path(), "left-alone.yaml"), path(dir.path(), "events.csv"));
    let rows = "id,time,customer,type,price\n\
        e1,2026-11-21T13:00:00Z,anna,product.viewed,12.5\ne2,2026-11-21T13:01:00Z,anna,product.viewed,3.5\n\
        e3,2026-11-21T13:02:00Z,anna,product.viewed,\ne4,2026-11-21T13:03:00Z,anna,page.viewed,\n\
        e5,2026-11-21T13:04:00Z,anna,product.viewed,20.0\ne6,2026-11-21T13:04:00Z,bert,product.viewed,20.0\n";
    std::fs::write(&events, rows).expect("written");
    let words = [
        "pattern",
        "explain",
        "left-alone",
        "--patterns",
        &pattern,
        "--events",
        &events,
        "--customer",
        "anna",
    ];
    let (code, out, err) = said(&[&words[..], &["--drain"]].concat());
    assert_eq!(code, 0, "{err}");
    for line in [
        "left-alone version 1, live: product.viewed where event.price > 10.0, 2 times; then no order.completed for 10m; all within 1h",
        "customer anna",
        "2026-11-21T13:00:00.000Z e1 product.viewed",
        "  step 0 sees it, 1 of 2; run since 2026-11-21T13:00:00.000Z",
        "  the `where` of step 0 does not hold: event.price > 10.0 (event.price = 3.5)",
        "  the `where` of step 0 does not hold: event.price > 10.0 (event.price is missing)",
        "  no step names this type",
        "  step 0 is complete; step 1 waits until 2026-11-21T13:14:00.000Z",
        "2026-11-21T13:14:00.000Z deadline",
        "  MATCH, begun 2026-11-21T13:00:00.000Z: e1 e5",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\nin\n{out}");
    }
    assert!(!out.contains("bert"));
    let (_, out, _) = said(&words);
    assert!(
        out.ends_with("open at the end: a wait until 2026-11-21T13:14:00.000Z\n"),
        "{out}"
    );
    let (_, out, _) = said(&[&words[..], &["--output", "json"]].concat());
    let report: Value = serde_json::from_str(&out).expect("one object");
    let moment = &report["data"]["customers"][0]["moments"][1];
    assert_eq!(
        (&moment["event"], &moment["notes"][0]["kind"]),
        (&"e2".into(), &"ignored".into())
    );
    let nobody = [&words[..7], &["--customer", "carl"]].concat();
    assert_eq!(said(&nobody).0, 3);
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a disk that is full");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_waymark"));
    let done = command.args(["pattern", "schema"]).stdout(full).output();
    let done = done.expect("the binary runs");
    assert_eq!(done.status.code(), Some(3));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.starts_with("error: stdout cannot be written: "), "{told}");
}
