//! Questions for the stable ends of many partitions at once, answered in the background.

use std::{collections::VecDeque, ffi::c_int, ptr, sync::Arc};

use rdkafka_sys as sys;
use stream::{KnownEnds, LogError, Millis, TopicPartition};
use sys::rd_kafka_resp_err_t as Err;

use super::{Consumer, Partitions, REQUEST, take_error};

/// The answer to a question that is older says nothing that a newer one would not.
const TIMEOUT: c_int = 1000;
/// While so many questions are open, no further one is asked.
const OPEN: usize = 3;

/// Which end is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Isolation {
    /// The last stable offset: the first record of the oldest open transaction.
    Stable,
    /// Behind the last record, committed or not.
    Uncommitted,
}

/// Asks and waits: where each partition ends. Partitions that did not answer are missing.
pub(crate) fn ends_now(
    client: &Consumer,
    partitions: &Partitions,
    isolation: Isolation,
) -> Result<Vec<(TopicPartition, i64)>, LogError> {
    if partitions.entries().is_empty() {
        return Ok(Vec::new());
    }
    // SAFETY: the client is alive; the queue is ours and destroyed once, the event is read while alive and destroyed once.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client.client);
        let ends = send(client, partitions, isolation, REQUEST, 0, queue).map(|()| {
            let event = sys::rd_kafka_queue_poll(queue, REQUEST);
            if event.is_null() {
                return Vec::new();
            }
            let ends = read(event);
            sys::rd_kafka_event_destroy(event);
            ends
        });
        sys::rd_kafka_queue_destroy(queue);
        ends
    }
}

/// Sends a question whose answer comes to `queue`.
fn send(
    client: &Consumer,
    partitions: &Partitions,
    isolation: Isolation,
    timeout: c_int,
    number: usize,
    queue: *mut sys::rd_kafka_queue_t,
) -> Result<(), LogError> {
    let level = match isolation {
        Isolation::Stable => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        Isolation::Uncommitted => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
    };
    let mut text = [0; 256];
    // SAFETY: client, list and queue are alive; the options are ours and destroyed once. The opaque is a number, never followed.
    unsafe {
        let options =
            sys::rd_kafka_AdminOptions_new(client.client, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        let refused = take_error(sys::rd_kafka_AdminOptions_set_isolation_level(options, level));
        let timed = sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout, text.as_mut_ptr(), text.len());
        sys::rd_kafka_AdminOptions_set_opaque(options, ptr::without_provenance_mut(number));
        let is_set = refused.is_none() && timed == Err::RD_KAFKA_RESP_ERR_NO_ERROR;
        if is_set {
            sys::rd_kafka_ListOffsets(client.client, partitions.as_ptr(), options, queue);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        if is_set {
            Ok(())
        } else {
            Err(LogError::Fatal(
                "client refused the options of a request for ends".to_owned(),
            ))
        }
    }
}

/// Questions under way, and the queue on which the client answers them in turn.
pub(crate) struct Ends {
    queue: *mut sys::rd_kafka_queue_t,
    /// The askers' clocks, by number of the question.
    open: VecDeque<(usize, Millis)>,
    numbered: usize,
}

// SAFETY: the handle may be used from any thread; `Ends` is used by one at a time, as `&mut self` says.
unsafe impl Send for Ends {}

impl Ends {
    pub(crate) fn new(of: &Consumer) -> Self {
        Self {
            // SAFETY: the client is alive; the queue is ours and destroyed before it is (`KafkaLog` declares it first).
            queue: unsafe { sys::rd_kafka_queue_new(of.client) },
            open: VecDeque::new(),
            numbered: 0,
        }
    }

    /// Asks without waiting.
    pub(crate) fn ask(&mut self, client: &Consumer, partitions: &Partitions, now: Millis) -> Result<(), LogError> {
        if self.open.len() >= OPEN || partitions.entries().is_empty() {
            return Ok(());
        }
        self.numbered += 1;
        send(
            client,
            partitions,
            Isolation::Stable,
            TIMEOUT,
            self.numbered,
            self.queue,
        )?;
        self.open.push_back((self.numbered, now));
        Ok(())
    }

    /// Takes the answers that are there.
    pub(crate) fn take(&mut self, into: &mut Vec<KnownEnds>) {
        while !self.open.is_empty() {
            // SAFETY: the queue is ours; an event is read while alive and destroyed once.
            let (number, ends) = unsafe {
                let event = sys::rd_kafka_queue_poll(self.queue, 0);
                if event.is_null() {
                    return;
                }
                let number = sys::rd_kafka_event_opaque(event).addr();
                let ends = read(event);
                sys::rd_kafka_event_destroy(event);
                (number, ends)
            };
            let Some(at) = self.open.iter().position(|(open, _)| *open == number) else {
                continue;
            };
            if let Some((_, asked)) = self.open.remove(at)
                && !ends.is_empty()
            {
                into.push(KnownEnds { asked, ends });
            }
        }
    }
}

/// The partitions that answered.
///
/// # Safety
/// The event must be alive.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Vec<(TopicPartition, i64)> {
    let mut ends = Vec::new();
    // SAFETY: result and infos belong to the event; the library fills `count` of them.
    unsafe {
        if sys::rd_kafka_event_type(event) != sys::RD_KAFKA_EVENT_LISTOFFSETS_RESULT
            || sys::rd_kafka_event_error(event) != Err::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return ends;
        }
        let result = sys::rd_kafka_event_ListOffsets_result(event);
        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        for index in 0..count {
            let of = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
            if of.err == Err::RD_KAFKA_RESP_ERR_NO_ERROR && of.offset >= 0 {
                let topic = std::ffi::CStr::from_ptr(of.topic).to_string_lossy();
                let of_partition = TopicPartition {
                    topic: Arc::from(topic.as_ref()),
                    partition: of.partition,
                };
                ends.push((of_partition, of.offset));
            }
        }
    }
    ends
}

impl Drop for Ends {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}
