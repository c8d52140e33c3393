//! Sending events in event-time order to the raw topics, with progress, so that the clock of the services follows the file's.

use std::{sync::Arc, time::Duration};

use event::{Channel, Event, Millis};
use service::{backend::Backend, ticks::Progress};
use stream::Output;

use crate::report::Failure;

/// How a file is sent.
pub struct Sending<'a> {
    /// The sender's name: a second run under it goes on behind the first.
    pub sender: &'a str,
    /// Rows in one transaction, more where many have one time.
    pub batch: usize,
    /// Rest after each transaction.
    pub pause: Duration,
}

/// Where sending stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Rows sent by this and earlier runs.
    pub rows: usize,
    /// Rows in all.
    pub of: usize,
    /// The time of the last row sent.
    pub time: Millis,
}

/// The raw topic of an event, by its channel.
#[must_use]
pub fn raw_suffix(event: &Event) -> &'static str {
    if event.kind.starts_with("agent.") {
        return "agents";
    }
    match event.channel {
        Channel::Mobile => "mobile",
        Channel::Voice => "voice",
        Channel::Social => "social",
        Channel::Chat | Channel::Messaging | Channel::Sms | Channel::Video => "chat",
        Channel::Email => "email",
        Channel::Store | Channel::Business | Channel::System => "business",
        Channel::Agent => "agents",
        Channel::Unknown | Channel::Web | Channel::SelfService => "web",
    }
}

/// How many rows this sender has sent before.
///
/// # Errors
/// [`Failure`] if that cannot be read.
fn sent_before<B: Backend>(backend: &B, sender: &str) -> Result<Option<Progress>, Failure> {
    // Every raw partition has the same progress, each with a transaction of its own events; agents has the fewest records.
    let mut reader = backend.reader(&[&backend.names().raw("agents")], true)?;
    let (mut records, mut last) = (Vec::new(), None);
    let begun = std::time::Instant::now();
    while !reader.is_at_end() {
        reader.read(Duration::from_millis(100), &mut records)?;
        for record in records.drain(..) {
            let progress = record.value.as_deref().and_then(Progress::decode);
            if let Some(progress) = progress.filter(|progress| progress.sender == sender) {
                let newer = last
                    .as_ref()
                    .is_none_or(|known: &Progress| (known.row, known.time) < (progress.row, progress.time));
                if newer {
                    last = Some(progress);
                }
            }
        }
        if begun.elapsed() > Duration::from_secs(120) {
            return Err(Failure::no_answer("earlier progress was not read in time"));
        }
    }
    Ok(last)
}

/// A sender under a name: it knows how far earlier runs came, and writes events with their progress in one transaction.
pub struct Sender<'a, B: Backend> {
    backend: &'a B,
    transactional: String,
    lanes: Vec<(Arc<str>, i32)>,
    at: Progress,
}

impl<'a, B: Backend> Sender<'a, B> {
    /// Finds out how far this sender came.
    ///
    /// # Errors
    /// [`Failure`] if that cannot be read.
    pub fn open(backend: &'a B, name: &str) -> Result<Self, Failure> {
        let before = sent_before(backend, name)?;
        let mut lanes = Vec::new();
        let raw = backend.names().all_raw();
        let counted = backend.partitions(&raw)?;
        for (topic, partitions) in raw.into_iter().zip(counted) {
            let topic: Arc<str> = Arc::from(topic);
            lanes.extend((0..partitions).map(|partition| (Arc::clone(&topic), partition)));
        }
        let at = before.unwrap_or(Progress {
            time: Millis(0),
            sender: name.to_owned(),
            row: 0,
        });
        Ok(Self {
            backend,
            transactional: format!("replay-{name}"),
            lanes,
            at,
        })
    }

    /// Events sent by this and earlier runs.
    #[must_use]
    pub fn rows(&self) -> usize {
        usize::try_from(self.at.row).unwrap_or(usize::MAX)
    }

    /// Up to here everything is sent; zero before the first.
    #[must_use]
    pub fn time(&self) -> Millis {
        self.at.time
    }

    /// Sends the next events and, behind them, progress up to `time` on every raw partition, together or not at all.
    ///
    /// # Errors
    /// [`Failure`] if the log cannot be written.
    pub fn send(&mut self, events: &[Event], time: Millis) -> Result<(), Failure> {
        let progress = Progress {
            time,
            sender: self.at.sender.clone(),
            row: self.at.row + events.len() as u64,
        };
        let mut outputs: Vec<Output> = events.iter().map(|event| raw(self.backend, event)).collect();
        let value = progress.encode();
        outputs.extend(self.lanes.iter().map(|(topic, partition)| Output {
            topic: Arc::clone(topic),
            partition: Some(*partition),
            timestamp: Some(time),
            key: None,
            value: Some(value.clone()),
            headers: Vec::new(),
        }));
        self.backend.publish(&self.transactional, &outputs)?;
        self.at = progress;
        Ok(())
    }
}

/// Sends what was not sent before, a batch per transaction.
///
/// # Errors
/// [`Failure`] if the log cannot be written; what was sent stays, and the next run goes on behind it.
pub fn send<B: Backend>(
    backend: &B,
    events: &[Event],
    how: &Sending<'_>,
    told: &mut dyn FnMut(&Sent) -> bool,
) -> Result<Sent, Failure> {
    let mut sender = Sender::open(backend, how.sender)?;
    let mut next = sender.rows();
    if next > events.len() {
        return Err(Failure::invalid(format!(
            "another file was sent under this name: sender={} rows sent={next} rows here={}",
            how.sender,
            events.len()
        )));
    }
    let mut sent = Sent {
        rows: next,
        of: events.len(),
        time: sender.time(),
    };
    while next < events.len() {
        let mut end = (next + how.batch.max(1)).min(events.len());
        // All rows of one time go together: progress says that none is missing.
        while end < events.len() && events[end].time == events[end - 1].time {
            end += 1;
        }
        sender.send(&events[next..end], events[end - 1].time)?;
        next = end;
        sent.rows = next;
        sent.time = sender.time();
        if !told(&sent) {
            break;
        }
        if !how.pause.is_zero() {
            std::thread::sleep(how.pause);
        }
    }
    Ok(sent)
}

/// An event as the record of a producer.
fn raw<B: Backend>(backend: &B, event: &Event) -> Output {
    let mut value = Vec::with_capacity(256);
    codec::encode_event(event, &mut value);
    Output {
        topic: Arc::from(backend.names().raw(raw_suffix(event))),
        partition: None,
        timestamp: Some(event.time),
        key: event
            .identifiers
            .first()
            .map(|identifier| identifier.value.clone().into_bytes()),
        value: Some(value),
        headers: Vec::new(),
    }
}
