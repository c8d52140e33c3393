//! From a file of rows to events in event-time order.

pub mod mapping;
pub mod rows;
pub mod send;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use event::Event;
use mapping::Mapping;
use serde_json::json;
use service::backend::{Backend, EmbeddedBackend};

use crate::{
    catalogue,
    cli::{Global, Replay, Role},
    context,
    report::{Exit, Failure, Report},
    run::{services, telemetry},
};

/// `waymark replay`.
///
/// # Errors
/// [`Failure`] if a file cannot be read, or the log cannot be written.
pub fn run(global: &Global, options: &Replay) -> Result<Report, Failure> {
    let map = &options.map;
    let text = std::fs::read_to_string(map).map_err(|error| format!("{}: cannot be read: {error}", map.display()))?;
    let events = read(&options.events, &Mapping::parse(&map.display().to_string(), &text)?)?;
    let patterns = match &options.patterns {
        Some(dir) => catalogue::read(std::slice::from_ref(dir))?,
        None => catalogue::read(&[])?,
    };
    let Some(dir) = &options.embedded else {
        let config = context::config(global)?;
        let backend = context::kafka(&config)?;
        check_retention(&backend, &events)?;
        catalogue::publish(&backend, &patterns)?;
        return send_file(&backend, &events, options);
    };
    let config = context::small(global, dir, &[])?;
    context::start_logging(&config);
    let backend = context::embedded(&config, &dir.join("log"))?;
    let stop = context::stop_switch()?;
    std::thread::scope(|scope| {
        let roles = [Role::Intake, Role::Monitor];
        catalogue::publish(&backend, &patterns)?;
        let services = scope.spawn({
            let (config, backend, stop) = (&config, &backend, Arc::clone(&stop));
            move || services(config, backend, &roles, &stop, &telemetry(config, &roles))
        });
        let sent = send_file(&backend, &events, options);
        if sent.is_ok() {
            wait_until_read(&backend, &stop)?;
        }
        stop.store(true, Ordering::Relaxed);
        let served = services
            .join()
            .unwrap_or_else(|_| Err(Failure::no_answer("services panicked")));
        served.and(sent)
    })
}

/// Waits until the services have read everything that was sent. The merge keeps the last progress of all lanes but one.
///
/// # Errors
/// [`Failure`] if the disk fails.
pub fn wait_until_read(backend: &EmbeddedBackend, stop: &AtomicBool) -> Result<(), Failure> {
    let names = backend.names();
    let raw = names.all_raw();
    let lanes: i64 = backend.partitions(&raw)?.into_iter().map(i64::from).sum();
    let mut quiet = 0;
    while quiet < 3 && !stop.load(Ordering::Relaxed) {
        let behind = backend.log().lag(&names.group("intake"), &raw)? > lanes
            || backend.log().lag(&names.group("monitor"), &[names.timeline()])? > 0;
        quiet = if behind { 0 } else { quiet + 1 };
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

fn send_file<B: Backend>(backend: &B, events: &[Event], options: &Replay) -> Result<Report, Failure> {
    let name = options
        .events
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let sender = options.sender.clone().or(name).unwrap_or_default();
    let how = send::Sending {
        sender: &sender,
        batch: options.batch,
        pause: Duration::from_millis(options.pause),
    };
    let begun = Instant::now();
    let mut told = Instant::now();
    let sent = send::send(backend, events, &how, &mut |sent| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            eprintln!("{} of {} rows, up to {}", sent.rows, sent.of, codec::time(sent.time));
        }
        true
    })?;
    Ok(Report {
        command: "replay",
        exit: Exit::Done,
        findings: Vec::new(),
        data: json!({ "rows": sent.rows, "sender": sender, "until": codec::time(sent.time),
            "seconds": begun.elapsed().as_secs_f64() }),
        text: format!("sent {} rows up to {} as {sender}", sent.rows, codec::time(sent.time)),
    })
}

/// Retention counts from record timestamps, and a replay's are as old as the file.
fn check_retention(backend: &service::backend::KafkaBackend, events: &[Event]) -> Result<(), Failure> {
    let Some(first) = events.first() else { return Ok(()) };
    let admin = kafka::Admin::connect(&backend.connection())?;
    let age = service::wall().since(first.time);
    for topic in backend
        .names()
        .all_raw()
        .into_iter()
        .chain([backend.names().timeline()])
    {
        let settings = admin.settings(&topic)?;
        let kept: i64 = settings
            .get("retention.ms")
            .and_then(|ms| ms.parse().ok())
            .unwrap_or(7 * 86_400_000);
        if kept >= 0 && kept < age {
            return Err(Failure {
                exit: Exit::Unsafe,
                message: format!(
                    "the broker would delete these events at once: topic={topic} retention.ms={kept} oldest={}\n\
                     keep them: --set topics.retention=0 with `waymark topics apply`, for a cluster of replays",
                    codec::time(first.time)
                ),
            });
        }
    }
    Ok(())
}

/// Reads a whole file into events, sorted stably by time; rows of equal time keep the file's order.
///
/// # Errors
/// A message with file and line of the first row that cannot be read.
pub fn read(events: &Path, mapping: &Mapping) -> Result<Vec<Event>, String> {
    let layout = mapping.layout(events)?;
    let mut found = Vec::new();
    rows::read(events, layout, &mut |row| {
        if found.is_empty() && layout.format == mapping::Format::Csv {
            mapping.check_columns(&row)?;
        }
        found.push(mapping.event(&row)?);
        Ok(())
    })?;
    found.sort_by_key(|event| event.time);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MAPPING: &str = r#"
version = 1
source = "test"
[time]
column = "at"
format = "%Y-%m-%d %H:%M"
zone = "Europe/Amsterdam"
[id]
hash = "row"
[type]
column = "what"
values = { buy = "order.completed" }
default = "page.viewed"
[channel]
default = "web"
[[identifiers]]
column = "who"
kind = "customer"
[attributes]
value = { column = "price", type = "double" }
"#;

    fn run(name: &str, content: &[u8]) -> Result<Vec<Event>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let mapping = Mapping::parse("mapping.toml", MAPPING).expect("mapping is valid");
        read(&path, &mapping).map_err(|message| message.replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn csv_json_lines_and_gzip_give_the_same_events_in_time_order() {
        let csv = "at,what,who,price\n2024-07-01 12:01,buy,7,3.5\n2024-07-01 12:00,look,7,\n";
        let events = run("a.csv", csv.as_bytes()).expect("readable");
        assert_eq!(events[0].kind, "page.viewed");
        assert_eq!(events[1].kind, "order.completed");
        assert_eq!(
            events[0].time.0, 1_719_828_000_000,
            "noon in Amsterdam is ten o'clock UTC in summer"
        );
        assert_eq!(events[1].attributes["value"], event::Attribute::Double(3.5));
        assert!(events[0].attributes.is_empty());

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(csv.as_bytes()).expect("packed");
        assert_eq!(run("a.csv.gz", &gzip.finish().expect("packed")), Ok(events.clone()));

        let json = "{\"at\":\"2024-07-01 12:01\",\"what\":\"buy\",\"who\":7,\"price\":3.5}\n\n";
        let from_json = run("a.jsonl", json.as_bytes()).expect("readable");
        assert_eq!(from_json[0].attributes, events[1].attributes);
        assert_eq!(from_json[0].identifiers, events[1].identifiers);
    }

    #[test]
    fn what_cannot_be_read_names_file_line_and_column() {
        let found = |name: &str, content: &str| run(name, content.as_bytes()).expect_err("unreadable");
        assert!(
            found("a.csv", "at,what,who,price\nyesterday,buy,7,1\n")
                .starts_with("/a.csv:2:1: time cannot be read: column=at")
        );
        assert_eq!(
            found("a.csv", "at,what,who,price\n2024-07-01 12:00,buy,7,much\n"),
            "/a.csv:2:24: value cannot be read: column=price"
        );
        assert!(
            found("a.csv", "at,what,who,price\n2024-07-01 12:00,buy\n")
                .starts_with("/a.csv:2: row has another number of cells: found=2 expected=4")
        );
        assert!(found("a.jsonl", "[1]\n").starts_with("/a.jsonl:1:1: not a JSON object"));
        assert!(found("a.txt", "x").starts_with("/a.txt: format is not told by the name"));
    }

    /// A file under a mapping of its own.
    fn mapped(name: &str, content: &[u8], mapping: &str) -> Result<Vec<Event>, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        let mapping = Mapping::parse("mapping.toml", mapping).expect("mapping is valid");
        read(&path, &mapping).map_err(|message| message.replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn files_of_other_layouts_are_read() {
        // Semicolons, Latin-1, no header, date and time apart.
        let mapping = r#"
version = 1
delimiter = ";"
encoding = "latin1"
header = ["day", "hour", "who", "what", "note"]
source = "test"
id = { hash = "row" }
channel = { default = "store" }
time = { column = ["day", "hour"], format = "%d.%m.%Y %H:%M:%S", zone = "Europe/Rome" }
type = { column = "what", values = { "Caffè" = "order.completed" } }
identifiers = [{ column = "who", kind = "customer" }]
attributes = { note = "note" }
"#;
        let line = b"01.07.2024;14:00:00;7;Caff\xe8;pi\xf9\n01.07.2024;14:00:01;7;page.viewed;\n";
        let events = mapped("till.csv", line, mapping).expect("readable");
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(
            kinds,
            ["order.completed", "page.viewed"],
            "a value that is a type stands for itself"
        );
        assert_eq!(codec::time(events[0].time), "2024-07-01T12:00:00.000Z");
        assert_eq!(events[0].attributes["note"], event::Attribute::Text("più".to_owned()));
        let utf8 = mapping.replace("latin1", "utf-8");
        assert_eq!(
            mapped("till.csv", line, &utf8).expect_err("not UTF-8"),
            "/till.csv:1:23: not UTF-8; if it is Latin-1, say encoding = \"latin1\" in the mapping"
        );
        let tabs = b"at\twhat\twho\tprice\n2024-07-01 12:01\tbuy\t7\t3\n";
        assert_eq!(run("a.tsv", tabs).map(|events| events.len()), Ok(1));
        let nested = "{\"time\":{\"ms\":1719828000000},\"actor\":{\"id\":5},\"event\":\"view\"}\n";
        let mapping = r#"
version = 1
source = "test"
id = { hash = "row" }
channel = { default = "web" }
time = { column = "time.ms", format = "epoch_ms" }
type = { column = "event", values = { view = "product.viewed" } }
identifiers = [{ column = "actor.id", kind = "customer" }]
"#;
        let events = mapped("log.ndjson", nested.as_bytes(), mapping).expect("readable");
        assert_eq!(
            (events[0].time.0, events[0].identifiers[0].value.as_str()),
            (1_719_828_000_000, "5")
        );
        let unlisted = mapped("log.ndjson", nested.replace("view", "look").as_bytes(), mapping).expect_err("no type");
        assert!(
            unlisted.starts_with("/log.ndjson:1:47: value is no type: column=event found=look;"),
            "{unlisted}"
        );
    }

    #[test]
    fn times_that_there_are_not_are_refused() {
        let with = |format: &str, time: &str| {
            let mapping = MAPPING.replace("%Y-%m-%d %H:%M", format);
            mapped(
                "a.csv",
                format!("at,what,who,price\n{time},buy,7,1\n").as_bytes(),
                &mapping,
            )
        };
        for (format, time, read) in [
            ("rfc3339", "2024-07-01T12:00:00+02:00", true),
            ("rfc3339", "2024-07-01T12:00:00+25:00", false),
            ("rfc3339", "2024-07-01T12:00:60Z", false),
            ("%Y-%m-%d %H:%M %z", "2024-07-01 12:00 +0200", true),
            ("%Y-%m-%d %H:%M %z", "2024-07-01 12:00 +2500", false),
        ] {
            let found = with(format, time);
            assert_eq!(found.is_ok(), read, "{time}: {found:?}");
            if let Err(message) = found {
                assert!(
                    message.starts_with("/a.csv:2:1: time cannot be read: column=at "),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn a_column_that_is_not_there_is_refused_with_the_nearest() {
        let wrong = MAPPING.replace("column = \"who\"", "column = \"whom\"");
        let refused = mapped("a.csv", b"at,what,who,price\n2024-07-01 12:00,buy,7,1\n", &wrong).expect_err("refused");
        assert_eq!(
            refused,
            "/a.csv:2: no such column: found=whom nearest=who columns=at, what, who, price"
        );
    }

    #[test]
    fn a_wrong_mapping_is_refused_where_it_is_wrong() {
        let refused =
            |from: &str, to: &str| Mapping::parse("mapping.toml", &MAPPING.replace(from, to)).expect_err("refused");
        assert!(refused("kind = \"customer\"", "kind = \"person\"").contains("unknown identifier kind: found=person"));
        assert!(refused("Europe/Amsterdam", "Europe/Atlantis").contains("unknown zone"));
        assert!(
            refused("\"page.viewed\"", "\"Viewed\"")
                .contains("a type is object.verb in lower snake case: found=Viewed")
        );
        assert!(refused("version = 1", "version = 2").contains("found=2 known=1"));
        assert!(refused("default = \"web\"", "default = \"fax\"").contains("unknown channel: found=fax"));
        assert!(refused("column = \"at\"", "colum = \"at\"").contains("line 5"));
    }
}
