//! A schema registry: schemas are fetched once, before the record that needs them is read.
//!
//! A registry that does not answer pauses intake and refuses nothing. An id that it does not know is asked for five times in a
//! minute; then its records are dead letters, until it is asked again a minute later.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use codec::{Raw, SchemaId, Schemas, WriterSchema, schema_of};
use service::{config::Config, telemetry::Probe};
use stream::Record;

const TIMEOUT: Duration = Duration::from_secs(5);
/// A registry that does not answer is asked again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// An unknown id is asked for this often, this far apart: a new schema may be a moment behind its first record.
const TRIES: u32 = 5;
/// A schema that cannot be had is not asked for again before this.
const FORGET: Duration = Duration::from_secs(60);

enum Known {
    Schema(Arc<WriterSchema>),
    Not { why: String, since: Instant },
}

/// What the registry's answer to one question was.
enum Answer {
    Schema(WriterSchema),
    Unknown(String),
    Unusable(String),
    Silent(String),
}

/// A registry and what has been fetched from it.
pub struct Registry {
    url: String,
    /// The value of the header `authorization`.
    authorization: Option<String>,
    agent: ureq::Agent,
    apart: Duration,
    known: Mutex<BTreeMap<SchemaId, Known>>,
    stop: Arc<AtomicBool>,
}

impl Registry {
    /// The configured registry; `None` where no address is set.
    ///
    /// # Errors
    /// A message that names the option whose file cannot be read.
    pub fn of(config: &Config, stop: &Arc<AtomicBool>) -> Result<Option<Self>, String> {
        let Some(url) = config.get("registry.url") else {
            return Ok(None);
        };
        let file = |option: &str| -> Result<Option<Vec<u8>>, String> {
            let Some(path) = config.get(option) else {
                return Ok(None);
            };
            std::fs::read(path)
                .map(Some)
                .map_err(|error| format!("{option}: {path}: {error}"))
        };
        let authorization = match (config.get("registry.username"), file("registry.password_file")?) {
            (Some(user), Some(password)) => {
                let password = String::from_utf8_lossy(&password).trim_end().to_owned();
                Some(format!("Basic {}", base64(format!("{user}:{password}").as_bytes())))
            }
            _ => None,
        };
        let mut tls = ureq::tls::TlsConfig::builder().provider(ureq::tls::TlsProvider::NativeTls);
        if let Some(pem) = file("registry.ca_file")? {
            let certificate =
                ureq::tls::Certificate::from_pem(&pem).map_err(|error| format!("registry.ca_file: {error}"))?;
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&[certificate]));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .tls_config(tls.build())
            .build()
            .into();
        Ok(Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            authorization,
            agent,
            apart: Duration::from_secs(12),
            known: Mutex::default(),
            stop: Arc::clone(stop),
        }))
    }

    /// Asks for unknown ids this far apart, for tests.
    #[must_use]
    pub fn apart(mut self, apart: Duration) -> Self {
        self.apart = apart;
        self
    }

    /// Fetches the schema that a record needs; false if told to stop before it could be had.
    pub fn prefetch(&self, record: &Record, probe: &Probe) -> bool {
        let raw = Raw {
            value: record.value.as_deref().unwrap_or_default(),
            headers: &record.headers,
            arrived: record.timestamp,
        };
        let Some((id, _)) = schema_of(&raw) else { return true };
        let is_known = match self.known().get(&id) {
            Some(Known::Schema(_)) => true,
            Some(Known::Not { since, .. }) => since.elapsed() < FORGET,
            None => false,
        };
        if is_known {
            return true;
        }
        let mut tries = 0;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            probe.beat();
            let result = |result: &str| probe.count("waymark_schema_fetches_total", &[result], 1);
            let not = |why: String| Known::Not {
                why,
                since: Instant::now(),
            };
            let (known, wait) = match self.ask(id) {
                Answer::Schema(schema) => {
                    result("fetched");
                    (Some(Known::Schema(Arc::new(schema))), AGAIN)
                }
                Answer::Unusable(why) => {
                    result("unusable");
                    (Some(not(why)), AGAIN)
                }
                Answer::Unknown(why) => {
                    result("unknown");
                    tries += 1;
                    ((tries >= TRIES).then(|| not(why)), self.apart)
                }
                Answer::Silent(why) => {
                    result("failed");
                    tracing::warn!(error = why, schema = %id, "schema registry does not answer, intake waits");
                    (None, AGAIN)
                }
            };
            if let Some(known) = known {
                self.known().insert(id, known);
                return true;
            }
            self.wait(wait, probe);
        }
    }

    fn wait(&self, wait: Duration, probe: &Probe) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.stop.load(Ordering::Relaxed) {
            probe.beat();
            std::thread::sleep(wait.min(Duration::from_millis(100)));
        }
    }

    fn ask(&self, id: SchemaId) -> Answer {
        let url = match id {
            SchemaId::Number(number) => format!("{}/schemas/ids/{number}", self.url),
            SchemaId::Guid(_) => format!("{}/schemas/guids/{id}", self.url),
        };
        let mut request = self.agent.get(&url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = match request.call() {
            Ok(response) => response,
            Err(error) => return Answer::Silent(error.to_string()),
        };
        let status = response.status().as_u16();
        let body = match response.body_mut().read_to_string() {
            Ok(body) => body,
            Err(error) => return Answer::Silent(error.to_string()),
        };
        match status {
            200 => {}
            404 => return Answer::Unknown(format!("registry does not know the schema: id={id}")),
            status => return Answer::Silent(format!("status={status}")),
        }
        let parsed: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let text = |name: &str| parsed.get(name).and_then(serde_json::Value::as_str);
        let Some(schema) = text("schema") else {
            return Answer::Silent("the answer holds no schema".to_owned());
        };
        match WriterSchema::parse(text("schemaType"), schema) {
            Ok(schema) => Answer::Schema(schema),
            Err(why) => Answer::Unusable(format!("{why}: id={id}")),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<SchemaId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schemas for Registry {
    fn get(&self, id: SchemaId) -> Result<Arc<WriterSchema>, String> {
        match self.known().get(&id) {
            Some(Known::Schema(schema)) => Ok(Arc::clone(schema)),
            Some(Known::Not { why, .. }) => Err(why.clone()),
            None => Err(format!("schema was not fetched: id={id}")),
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
