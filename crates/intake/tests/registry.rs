//! Records in a registry's framing, with a small registry on the loopback interface.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use codec::{SchemaId, Schemas as _};
use intake::Registry;
use service::{
    config::{Config, Sources},
    telemetry::Telemetry,
};
use stream::{Millis, Record};

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}"#;

/// Answers each request by its path and how often that path was asked for before; keeps what was asked.
struct Loopback {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Loopback {
    fn start(answer: impl Fn(&str, usize) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
                let mut request: Vec<String> = Vec::new();
                for line in lines.by_ref().map_while(Result::ok) {
                    if line.is_empty() {
                        break;
                    }
                    request.push(line);
                }
                let path = request
                    .first()
                    .and_then(|line| line.split(' ').nth(1))
                    .unwrap_or_default()
                    .to_owned();
                let before = {
                    let mut log = log.lock().expect("the log");
                    let before = log.iter().filter(|entry: &&String| entry.starts_with(&path)).count();
                    let authorization = request
                        .iter()
                        .find(|line| line.to_lowercase().starts_with("authorization"));
                    log.push(format!("{path} {}", authorization.cloned().unwrap_or_default()));
                    before
                };
                let (status, body) = answer(&path, before);
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("the log").clone()
    }
}

fn registry(address: &str, more: &[String], stop: &Arc<AtomicBool>) -> Registry {
    let mut flags = vec![format!("registry.url={address}/")];
    flags.extend_from_slice(more);
    let sources = Sources {
        file: None,
        variables: Vec::new(),
        flags: &flags,
    };
    let config = Config::read(&sources).expect("a configuration");
    let registry = Registry::of(&config, stop).expect("its files are there");
    registry.expect("an address is set").apart(Duration::from_millis(1))
}

fn framed(id: u8) -> Record {
    Record {
        topic: Arc::from("journey.events.web"),
        partition: 0,
        offset: 0,
        timestamp: Millis(0),
        key: None,
        value: Some(vec![0, 0, 0, 0, id, 2, b'7']),
        headers: Vec::new(),
    }
}

fn found(schema: &str) -> (u16, String) {
    (200, serde_json::json!({ "schema": schema }).to_string())
}

#[test]
fn a_schema_is_fetched_once_with_the_configured_name_and_password() {
    let loopback = Loopback::start(|_, _| found(SCHEMA));
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    std::fs::write(&password, "open sesame\n").expect("written");
    let more = [
        "registry.username=ali".to_owned(),
        format!("registry.password_file={}", password.display()),
    ];
    let stop = Arc::default();
    let registry = registry(&loopback.address, &more, &stop);
    let telemetry = Telemetry::new(&["intake"], "");
    let probe = telemetry.probe("intake", 0);
    for _ in 0..3 {
        assert!(registry.prefetch(&framed(7), &probe));
    }
    assert!(registry.get(SchemaId::Number(7)).is_ok());
    assert!(registry.get(SchemaId::Number(8)).is_err(), "reading fetches nothing");
    let asked = loopback.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("/schemas/ids/7 "), "{asked:?}");
    assert!(asked[0].ends_with("Basic YWxpOm9wZW4gc2VzYW1l"), "{asked:?}");
    let plain = Record {
        value: Some(b"{}".to_vec()),
        ..framed(0)
    };
    assert!(registry.prefetch(&plain, &probe));
    assert_eq!(loopback.asked().len(), 1, "JSON needs no schema");
    assert_eq!(telemetry.total("waymark_schema_fetches_total"), 1);
}

#[test]
fn an_unknown_schema_is_asked_for_five_times_and_then_refused() {
    let loopback = Loopback::start(|_, _| (404, r#"{"error_code":40403}"#.to_owned()));
    let stop = Arc::default();
    let registry = registry(&loopback.address, &[], &stop);
    let probe = Telemetry::new(&["intake"], "").probe("intake", 0);
    assert!(registry.prefetch(&framed(9), &probe));
    assert!(registry.prefetch(&framed(9), &probe));
    assert_eq!(loopback.asked().len(), 5);
    let why = registry.get(SchemaId::Number(9)).expect_err("unknown");
    assert_eq!(why, "registry does not know the schema: id=9");
}

#[test]
fn a_schema_behind_its_first_record_is_found() {
    let loopback = Loopback::start(|_, before| {
        if before < 2 {
            (404, String::new())
        } else {
            found(SCHEMA)
        }
    });
    let stop = Arc::default();
    let registry = registry(&loopback.address, &[], &stop);
    assert!(registry.prefetch(&framed(3), &Telemetry::new(&["intake"], "").probe("intake", 0)));
    assert!(registry.get(SchemaId::Number(3)).is_ok());
}

#[test]
fn a_registry_that_fails_pauses_and_refuses_nothing() {
    let loopback = Loopback::start(|_, before| {
        if before == 0 {
            (503, String::new())
        } else {
            found(SCHEMA)
        }
    });
    let stop = Arc::default();
    let one = registry(&loopback.address, &[], &stop);
    let probe = Telemetry::new(&["intake"], "").probe("intake", 0);
    assert!(
        one.prefetch(&framed(5), &probe),
        "it comes back, and the record is read"
    );
    assert!(one.get(SchemaId::Number(5)).is_ok());

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let two = registry(&nobody, &[], &stop);
    let waiting = Arc::clone(&stop);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        waiting.store(true, Ordering::Relaxed);
    });
    assert!(!two.prefetch(&framed(5), &probe), "told to stop before it could be had");
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_id() {
    let loopback = Loopback::start(|_, _| {
        (
            200,
            r#"{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}"#.to_owned(),
        )
    });
    let stop = Arc::default();
    let registry = registry(&loopback.address, &[], &stop);
    assert!(registry.prefetch(&framed(2), &Telemetry::new(&["intake"], "").probe("intake", 0)));
    let why = registry.get(SchemaId::Number(2)).expect_err("refused");
    assert!(why.contains("PROTOBUF") && why.ends_with("id=2"), "{why}");
}
