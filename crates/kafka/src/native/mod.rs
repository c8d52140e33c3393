//! A consumer owned through the C interface, and owners for every native list. All `unsafe` of this crate is in this module.

mod ends;

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use ends::{Ends, Isolation, ends_now};
use rdkafka_sys as sys;
use stream::{Change, LogError, Millis, Record, TopicPartition, is_filler};
use sys::rd_kafka_resp_err_t as Err;

/// Every request on its own has this deadline.
pub(crate) const REQUEST: c_int = 10_000;
/// In a list: no offset.
pub(crate) const OFFSET_INVALID: i64 = -1001;
/// In a question for offsets: the end.
pub(crate) const OFFSET_LATEST: i64 = -1;

/// A native partition list.
pub(crate) struct Partitions(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: a list belongs to one owner, who may be on any thread.
unsafe impl Send for Partitions {}

impl Partitions {
    pub(crate) fn new() -> Self {
        // SAFETY: the library allocates the list; `drop` frees it.
        Self(unsafe { sys::rd_kafka_topic_partition_list_new(8) })
    }

    pub(crate) fn of<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>, offset: i64) -> Self {
        let mut list = Self::new();
        for partition in partitions {
            list.add(partition, offset, None);
        }
        list
    }

    pub(crate) fn add(&mut self, of: &TopicPartition, offset: i64, metadata: Option<&str>) {
        let topic = c_string(&of.topic);
        // SAFETY: the list is ours; the library copies the name. Metadata must come from its allocator, since it frees it.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), of.partition);
            (*entry).offset = offset;
            if let Some(metadata) = metadata.filter(|metadata| !metadata.is_empty()) {
                let copy = sys::rd_kafka_mem_malloc(ptr::null_mut(), metadata.len());
                ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
                (*entry).metadata = copy;
                (*entry).metadata_size = metadata.len();
            }
        }
    }

    pub(crate) fn entries(&self) -> &[sys::rd_kafka_topic_partition_t] {
        // SAFETY: the list is ours and holds `cnt` elements; an empty one may have no array.
        unsafe {
            let list = &*self.0;
            let count = usize::try_from(list.cnt).unwrap_or(0);
            if count == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(list.elems, count)
            }
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).expect("zero bytes were removed")
}

fn message(error: Err) -> String {
    // SAFETY: the library returns a static string for every code.
    unsafe { CStr::from_ptr(sys::rd_kafka_err2str(error)) }
        .to_string_lossy()
        .into_owned()
}

/// Turns a plain code into what is to be done about it.
pub(crate) fn check(error: Err, what: &str) -> Result<(), LogError> {
    if error == Err::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(classify(error, format!("{what}: {}", message(error))))
}

pub(crate) fn classify(error: Err, text: String) -> LogError {
    match error {
        Err::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE | Err::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET => {
            LogError::OutOfRange(text)
        }
        Err::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
        | Err::RD_KAFKA_RESP_ERR__FENCED
        | Err::RD_KAFKA_RESP_ERR_PRODUCER_FENCED => LogError::Fenced(text),
        Err::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Err::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Err::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
        | Err::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        | Err::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
        | Err::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | Err::RD_KAFKA_RESP_ERR__AUTHENTICATION
        | Err::RD_KAFKA_RESP_ERR__FATAL => LogError::Fatal(text),
        _ => LogError::Retriable(text),
    }
}

/// The same for a question about a partition that a listing named: one without a leader, such as those of a broker that has just come back,
/// is unknown to the client.
fn check_listed(error: Err, what: &str) -> Result<(), LogError> {
    match error {
        Err::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
        | Err::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | Err::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION => Err(LogError::Retriable(format!("{what}: {}", message(error)))),
        error => check(error, what),
    }
}

/// What a native error object says, and what it asks for. Takes the object.
pub(crate) struct NativeError {
    pub(crate) code: Err,
    pub(crate) text: String,
    pub(crate) fatal: bool,
}

pub(crate) fn take_error(error: *mut sys::rd_kafka_error_t) -> Option<NativeError> {
    if error.is_null() {
        return None;
    }
    // SAFETY: a non-null error object is ours and destroyed once, after it was read.
    unsafe {
        let taken = NativeError {
            code: sys::rd_kafka_error_code(error),
            text: CStr::from_ptr(sys::rd_kafka_error_string(error))
                .to_string_lossy()
                .into_owned(),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Some(taken)
    }
}

/// What the rebalance callback noted; the worker acts on it.
#[derive(Default)]
struct Noted {
    changes: Mutex<Vec<Change>>,
    /// The consumer is being closed: nobody acts on changes any more, so the callback itself gives partitions back.
    closing: AtomicBool,
}

/// A group as its coordinator describes it.
pub(crate) struct Described {
    /// The generation that this member knows.
    pub(crate) generation: i32,
    /// Its own id.
    pub(crate) own: String,
    /// Whether the assignments are those of a generation that is in force.
    pub(crate) is_stable: bool,
    /// All ids, with what each was given, as the group's leader encoded it.
    pub(crate) members: Vec<(String, Vec<u8>)>,
}

/// A consumer owned natively. Used from one thread.
pub(crate) struct Consumer {
    client: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    noted: *mut Noted,
    topics: BTreeMap<String, Arc<str>>,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the library's handles may be used from any thread; `Consumer` is used by one at a time, as `&mut self` says.
unsafe impl Send for Consumer {}

/// What one message turned out to be.
pub(crate) enum Polled {
    Record(Record),
    /// Nothing before this offset, the next one to read, is still to come: what is there are control records, or records that say nothing.
    End(TopicPartition, i64),
    /// Records that cannot be read, and why: damaged on their way or where they lie, or packed in a way that this client does not know. It goes on
    /// behind them.
    Unreadable(TopicPartition, String),
    /// What went wrong, and with which partition if the client says that.
    Failed(Option<TopicPartition>, LogError),
}

extern "C" fn note_rebalance(
    client: *mut sys::rd_kafka_t,
    error: Err,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the `Noted` of the consumer that serves this callback on its own thread; the list is valid during
    // the call.
    let (noted, list) = unsafe {
        let list = &*partitions;
        let count = usize::try_from(list.cnt).unwrap_or(0);
        let entries: &[sys::rd_kafka_topic_partition_t] = if count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(list.elems, count)
        };
        let list: Vec<TopicPartition> = entries
            .iter()
            .map(|entry| TopicPartition {
                topic: Arc::from(CStr::from_ptr(entry.topic).to_string_lossy().as_ref()),
                partition: entry.partition,
            })
            .collect();
        (&*opaque.cast::<Noted>(), list)
    };
    if noted.closing.load(Ordering::Relaxed) {
        // SAFETY: client and list are alive during the call. An error leaves the partitions to the session's end.
        drop(take_error(unsafe {
            match error {
                Err::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => ptr::null_mut(),
                _ => sys::rd_kafka_incremental_unassign(client, partitions),
            }
        }));
        return;
    }
    let change = match error {
        Err::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(list),
        // SAFETY: the client is the one that calls.
        _ if unsafe { sys::rd_kafka_assignment_lost(client) } != 0 => Change::Lost(list),
        _ => Change::Revoked(list),
    };
    noted
        .changes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(change);
}

impl Consumer {
    pub(crate) fn new(settings: &BTreeMap<String, String>) -> Result<Self, LogError> {
        let mut text = [0 as c_char; 512];
        // SAFETY: every pointer handed over is valid for the call; the library owns the configuration once a client was made.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            for (name, value) in settings {
                let (name_c, value_c) = (c_string(name), c_string(value));
                let set =
                    sys::rd_kafka_conf_set(conf, name_c.as_ptr(), value_c.as_ptr(), text.as_mut_ptr(), text.len());
                if set != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                    let why = CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned();
                    sys::rd_kafka_conf_destroy(conf);
                    return Err(LogError::Fatal(format!("client setting refused: {name}: {why}")));
                }
            }
            let noted = Box::into_raw(Box::<Noted>::default());
            sys::rd_kafka_conf_set_rebalance_cb(conf, Some(note_rebalance));
            sys::rd_kafka_conf_set_opaque(conf, noted.cast());
            let kind = sys::rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let client = sys::rd_kafka_new(kind, conf, text.as_mut_ptr(), text.len());
            if client.is_null() {
                let why = CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned();
                sys::rd_kafka_conf_destroy(conf);
                drop(Box::from_raw(noted));
                return Err(LogError::Fatal(format!("client cannot be made: {why}")));
            }
            sys::rd_kafka_poll_set_consumer(client);
            let queue = sys::rd_kafka_queue_get_consumer(client);
            Ok(Self {
                client,
                queue,
                noted,
                topics: BTreeMap::new(),
                buffer: vec![ptr::null_mut(); 4096],
            })
        }
    }

    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), LogError> {
        let mut list = Partitions::new();
        for topic in topics {
            list.add(
                &TopicPartition {
                    topic: Arc::from(topic.as_str()),
                    partition: -1,
                },
                0,
                None,
            );
        }
        // SAFETY: client and list are alive.
        check(
            unsafe { sys::rd_kafka_subscribe(self.client, list.as_ptr()) },
            "subscribe",
        )
    }

    /// Changes noted since the last call, in order.
    pub(crate) fn changes(&self) -> Vec<Change> {
        // SAFETY: `noted` lives as long as the client.
        let noted = unsafe { &*self.noted };
        std::mem::take(&mut *noted.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One batch, waiting at most `wait`. The call waits for the whole time unless the batch is full, so keep it short.
    pub(crate) fn poll(&mut self, wait: Duration, max: usize, mut each: impl FnMut(Polled)) -> usize {
        let wait = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        let size = max.clamp(1, self.buffer.len());
        // SAFETY: the queue is ours, the buffer holds `size` pointers.
        let count = unsafe { sys::rd_kafka_consume_batch_queue(self.queue, wait, self.buffer.as_mut_ptr(), size) };
        let count = usize::try_from(count).unwrap_or(0);
        for index in 0..count {
            let native = self.buffer[index];
            // SAFETY: the library filled `count` messages, each destroyed once, after it was copied.
            let polled = unsafe {
                let polled = self.read(&*native);
                sys::rd_kafka_message_destroy(native);
                polled
            };
            each(polled);
        }
        count
    }

    fn read(&mut self, native: &sys::rd_kafka_message_t) -> Polled {
        let topic = if native.rkt.is_null() {
            Arc::from("")
        } else {
            // SAFETY: a message's topic handle and its name live as long as the message.
            let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(native.rkt)) }.to_string_lossy();
            match self.topics.get(name.as_ref()) {
                Some(topic) => Arc::clone(topic),
                None => {
                    let topic: Arc<str> = Arc::from(name.as_ref());
                    self.topics.insert(name.into_owned(), Arc::clone(&topic));
                    topic
                }
            }
        };
        match native.err {
            Err::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            Err::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                return Polled::End(
                    TopicPartition {
                        topic,
                        partition: native.partition,
                    },
                    native.offset,
                );
            }
            Err::RD_KAFKA_RESP_ERR__FATAL => return Polled::Failed(None, self.fatal()),
            error => {
                let of = (!native.rkt.is_null()).then_some(TopicPartition {
                    topic,
                    partition: native.partition,
                });
                return match (of, error) {
                    (
                        Some(of),
                        Err::RD_KAFKA_RESP_ERR__BAD_MSG
                        | Err::RD_KAFKA_RESP_ERR__BAD_COMPRESSION
                        | Err::RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED,
                    ) => {
                        let why = bytes(native.payload, native.len).unwrap_or_default();
                        let why = format!(
                            "topic={} partition={}: {}",
                            of.topic,
                            of.partition,
                            String::from_utf8_lossy(&why)
                        );
                        Polled::Unreadable(of, why)
                    }
                    (of, error) => Polled::Failed(of, classify(error, message(error))),
                };
            }
        }
        let (key, value) = (bytes(native.key, native.key_len), bytes(native.payload, native.len));
        if is_filler(key.as_deref(), value.as_deref()) {
            let of = TopicPartition {
                topic,
                partition: native.partition,
            };
            return Polled::End(of, native.offset + 1);
        }
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(native, &raw mut kind) };
        Polled::Record(Record {
            topic,
            partition: native.partition,
            offset: native.offset,
            timestamp: Millis(timestamp),
            key,
            value,
            headers: headers(native),
        })
    }

    /// The error behind a fatal one.
    fn fatal(&self) -> LogError {
        let mut text = [0 as c_char; 512];
        // SAFETY: the client is alive; the library ends the text with a zero byte.
        let (code, why) = unsafe {
            let code = sys::rd_kafka_fatal_error(self.client, text.as_mut_ptr(), text.len());
            (code, CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned())
        };
        match classify(code, why) {
            LogError::Fenced(why) => LogError::Fenced(why),
            other => LogError::Fatal(other.to_string()),
        }
    }

    pub(crate) fn assign(&self, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: client and list are alive, as in all calls below.
        check(unsafe { sys::rd_kafka_assign(self.client, list.as_ptr()) }, "assign")
    }

    pub(crate) fn incremental_assign(&self, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: see above.
        native_result(
            unsafe { sys::rd_kafka_incremental_assign(self.client, list.as_ptr()) },
            "assign",
        )
    }

    pub(crate) fn incremental_unassign(&self, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: see above.
        native_result(
            unsafe { sys::rd_kafka_incremental_unassign(self.client, list.as_ptr()) },
            "unassign",
        )
    }

    pub(crate) fn pause(&self, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: see above.
        check(
            unsafe { sys::rd_kafka_pause_partitions(self.client, list.as_ptr()) },
            "pause",
        )
    }

    pub(crate) fn resume(&self, list: &Partitions) -> Result<(), LogError> {
        // SAFETY: see above.
        check(
            unsafe { sys::rd_kafka_resume_partitions(self.client, list.as_ptr()) },
            "resume",
        )
    }

    /// Moves readers; false if one of the partitions has none now.
    pub(crate) fn seek(&self, list: &Partitions) -> Result<bool, LogError> {
        // SAFETY: see above.
        native_result(
            unsafe { sys::rd_kafka_seek_partitions(self.client, list.as_ptr(), REQUEST) },
            "seek",
        )?;
        for entry in list.entries() {
            if entry.err == Err::RD_KAFKA_RESP_ERR__STATE {
                return Ok(false);
            }
            check(entry.err, "seek")?;
        }
        Ok(true)
    }

    /// Stable committed offsets with their metadata, in the list's order.
    pub(crate) fn committed(&self, list: &Partitions) -> Result<Vec<Option<(i64, String)>>, LogError> {
        self.committed_within(list, REQUEST)
    }

    /// The same, within so many milliseconds.
    pub(crate) fn committed_within(
        &self,
        list: &Partitions,
        timeout: c_int,
    ) -> Result<Vec<Option<(i64, String)>>, LogError> {
        // SAFETY: see above.
        check(
            unsafe { sys::rd_kafka_committed(self.client, list.as_ptr(), timeout) },
            "committed offsets",
        )?;
        let mut found = Vec::new();
        for entry in list.entries() {
            check(entry.err, "committed offsets")?;
            let metadata = bytes(entry.metadata, entry.metadata_size).unwrap_or_default();
            let metadata = String::from_utf8_lossy(&metadata).into_owned();
            found.push((entry.offset >= 0).then_some((entry.offset, metadata)));
        }
        Ok(found)
    }

    /// All topics, with the number of their partitions.
    pub(crate) fn topics(&self) -> Result<Vec<(String, i32)>, LogError> {
        let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
        // SAFETY: the client is alive; the answer is written by the call, read while alive, and destroyed once.
        unsafe {
            let asked = sys::rd_kafka_metadata(self.client, 1, ptr::null_mut(), &raw mut metadata, REQUEST);
            check(asked, "topics")?;
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let mut topics = Vec::with_capacity(count);
            for at in 0..count {
                let topic = &*(*metadata).topics.add(at);
                let name = CStr::from_ptr(topic.topic).to_string_lossy().into_owned();
                topics.push((name, topic.partition_cnt));
            }
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    pub(crate) fn watermarks(&self, of: &TopicPartition) -> Result<(i64, i64), LogError> {
        let topic = c_string(&of.topic);
        let (mut low, mut high) = (0, 0);
        // SAFETY: see above; the two numbers outlive the call.
        let error = unsafe {
            sys::rd_kafka_query_watermark_offsets(
                self.client,
                topic.as_ptr(),
                of.partition,
                &raw mut low,
                &raw mut high,
                REQUEST,
            )
        };
        check_listed(error, "offsets")?;
        Ok((low, high))
    }

    /// For each entry, whose offset is a time, the first offset that is not older; `None` where there is none.
    pub(crate) fn offsets_for_times(&self, list: &Partitions) -> Result<Vec<Option<i64>>, LogError> {
        // SAFETY: see above.
        check(
            unsafe { sys::rd_kafka_offsets_for_times(self.client, list.as_ptr(), REQUEST) },
            "offsets by time",
        )?;
        let mut found = Vec::new();
        for entry in list.entries() {
            check_listed(entry.err, "offsets by time")?;
            found.push((entry.offset >= 0).then_some(entry.offset));
        }
        Ok(found)
    }

    /// The next offsets to be read, behind control records too; only of partitions of which anything was read since their position
    /// was set.
    pub(crate) fn positions<'a>(
        &self,
        of: impl Iterator<Item = &'a TopicPartition> + Clone,
        into: &mut Vec<(TopicPartition, i64)>,
    ) -> Result<(), LogError> {
        let list = Partitions::of(of.clone(), -1001);
        // SAFETY: client and list are alive.
        check(
            unsafe { sys::rd_kafka_position(self.client, list.as_ptr()) },
            "positions",
        )?;
        let read = of.zip(list.entries()).filter(|(_, entry)| entry.offset >= 0);
        into.extend(read.map(|(of, entry)| (of.clone(), entry.offset)));
        Ok(())
    }

    /// Leaves the group and closes the consumer; gives up after `budget`.
    pub(crate) fn close(&mut self, budget: Duration) -> Result<(), LogError> {
        // SAFETY: `noted` lives as long as the client; client and queue are alive.
        let error = unsafe {
            (*self.noted).closing.store(true, Ordering::Relaxed);
            sys::rd_kafka_consumer_close_queue(self.client, self.queue)
        };
        native_result(error, "leaving the group")?;
        let begun = Instant::now();
        // SAFETY: see above.
        while unsafe { sys::rd_kafka_consumer_closed(self.client) } == 0 {
            if begun.elapsed() > budget {
                return Err(LogError::Retriable("group was not left in time".to_owned()));
            }
            // What still comes is read by whoever has the partition next.
            self.poll(Duration::from_millis(10), 1, |_| {});
        }
        Ok(())
    }

    /// The generation that this member is in; negative while it is in none.
    pub(crate) fn generation(&self) -> Result<i32, LogError> {
        let metadata = self.metadata()?;
        // SAFETY: the metadata object is alive.
        Ok(unsafe { sys::rd_kafka_consumer_group_metadata_generation_id(metadata.0) })
    }

    /// The group as its coordinator describes it.
    pub(crate) fn group(&self, group: &str) -> Result<Described, LogError> {
        let generation = self.generation()?;
        let own = {
            // SAFETY: the client is alive; the returned string is ours to free.
            unsafe {
                let id = sys::rd_kafka_memberid(self.client);
                if id.is_null() {
                    return Err(LogError::Retriable("not a member of the group yet".to_owned()));
                }
                let own = CStr::from_ptr(id).to_string_lossy().into_owned();
                sys::rd_kafka_mem_free(self.client, id.cast());
                own
            }
        };
        let name = c_string(group);
        let mut list: *const sys::rd_kafka_group_list = ptr::null();
        // SAFETY: the list is written by the call, read while alive, and destroyed once.
        let (is_stable, members) = unsafe {
            check(
                sys::rd_kafka_list_groups(self.client, name.as_ptr(), &raw mut list, REQUEST),
                "group description",
            )?;
            let (mut is_stable, mut members) = (false, Vec::new());
            let groups = std::slice::from_raw_parts((*list).groups, usize::try_from((*list).group_cnt).unwrap_or(0));
            for group in groups {
                is_stable = !group.state.is_null() && CStr::from_ptr(group.state).to_bytes() == b"Stable";
                let count = usize::try_from(group.member_cnt).unwrap_or(0);
                if count > 0 {
                    for member in std::slice::from_raw_parts(group.members, count) {
                        let id = CStr::from_ptr(member.member_id).to_string_lossy().into_owned();
                        let size = usize::try_from(member.member_assignment_size).unwrap_or(0);
                        let assignment = if size == 0 || member.member_assignment.is_null() {
                            Vec::new()
                        } else {
                            std::slice::from_raw_parts(member.member_assignment.cast::<u8>(), size).to_vec()
                        };
                        members.push((id, assignment));
                    }
                }
            }
            sys::rd_kafka_group_list_destroy(list);
            (is_stable, members)
        };
        Ok(Described {
            generation,
            own,
            is_stable,
            members,
        })
    }

    /// Metadata of a group for one that is no member of it.
    pub(crate) fn outsider(group: &str) -> GroupMetadata {
        let name = c_string(group);
        // SAFETY: the library copies the name; the object is ours.
        GroupMetadata(unsafe { sys::rd_kafka_consumer_group_metadata_new(name.as_ptr()) })
    }

    /// Fresh group metadata: it ages without a rebalance, so it is never kept.
    pub(crate) fn metadata(&self) -> Result<GroupMetadata, LogError> {
        // SAFETY: the client is alive; the object is ours.
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(self.client) };
        if metadata.is_null() {
            return Err(LogError::Fatal("client has no group".to_owned()));
        }
        Ok(GroupMetadata(metadata))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // A client's end can block; a thread of its own waits for it.
        let handles = Handles {
            client: self.client,
            queue: self.queue,
            noted: self.noted,
        };
        let spawned = std::thread::Builder::new()
            .name("kafka-reaper".to_owned())
            .spawn(move || handles.destroy());
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to close a client on, leaving it open");
        }
    }
}

struct Handles {
    client: *mut sys::rd_kafka_t,
    queue: *mut sys::rd_kafka_queue_t,
    noted: *mut Noted,
}

// SAFETY: the handles are moved to the one thread that destroys them.
unsafe impl Send for Handles {}

/// A consumer whose close was given up closes within this time, or never.
const CLOSING: Duration = Duration::from_secs(120);

impl Handles {
    /// Goes on with a close that was given up. A client of librdkafka 2.12 that closes and is destroyed before it has been told what its group
    /// says meanwhile never ends, and one of its threads takes a whole core: it waits for its timers, which are not run any more.
    fn is_closed(&self) -> bool {
        let begun = Instant::now();
        // SAFETY: nobody else has these handles any more, and all of them are alive; a message is destroyed once.
        unsafe {
            if !(*self.noted).closing.load(Ordering::Relaxed) {
                return true;
            }
            while sys::rd_kafka_consumer_closed(self.client) == 0 {
                if begun.elapsed() > CLOSING {
                    return false;
                }
                let message = sys::rd_kafka_consume_queue(self.queue, 100);
                if !message.is_null() {
                    sys::rd_kafka_message_destroy(message);
                }
            }
        }
        true
    }

    fn destroy(self) {
        if !self.is_closed() {
            tracing::error!("a client's group was not left, leaving the client open");
            return;
        }
        // SAFETY: nobody else has these handles any more. Without `consumer_close` no callback runs here, and a dynamic member
        // leaves by its session's end; closing first would serve a rebalance that nobody answers.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue);
            sys::rd_kafka_destroy_flags(self.client, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            drop(Box::from_raw(self.noted));
        }
    }
}

/// Group metadata for `send_offsets`.
pub(crate) struct GroupMetadata(pub(crate) *mut sys::rd_kafka_consumer_group_metadata_t);

// SAFETY: the object is a copy of its own, with one owner, who may be on any thread.
unsafe impl Send for GroupMetadata {}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: made by the library for us, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

/// Adds consumed offsets to a producer's transaction.
pub(crate) fn send_offsets(
    producer: *mut sys::rd_kafka_t,
    offsets: &Partitions,
    group: &GroupMetadata,
) -> Option<NativeError> {
    // SAFETY: producer, list and metadata are alive; a negative time waits for the transaction's own limit.
    take_error(unsafe { sys::rd_kafka_send_offsets_to_transaction(producer, offsets.as_ptr(), group.0, -1) })
}

fn native_result(error: *mut sys::rd_kafka_error_t, what: &str) -> Result<(), LogError> {
    match take_error(error) {
        None => Ok(()),
        Some(error) => Err(classify(error.code, format!("{what}: {}", error.text))),
    }
}

fn bytes(from: *const c_void, length: usize) -> Option<Vec<u8>> {
    if from.is_null() {
        return None;
    }
    // SAFETY: the library says that many bytes are there.
    Some(unsafe { std::slice::from_raw_parts(from.cast::<u8>(), length) }.to_vec())
}

fn headers(native: &sys::rd_kafka_message_t) -> Vec<stream::Header> {
    let mut list = ptr::null_mut();
    let mut found = Vec::new();
    // SAFETY: the message owns the headers and outlives this function.
    unsafe {
        if sys::rd_kafka_message_headers(native, &raw mut list) != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
            return found;
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let got = sys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size);
            if got != Err::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            found.push((CStr::from_ptr(name).to_string_lossy().into_owned(), bytes(value, size)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use testkit::broker::Kafka;

    use super::*;
    use crate::{Admin, KafkaConfig};

    /// Asks again until it holds.
    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A member whose client has heard what it was given, and waits to be asked.
    fn member(address: &str) -> Consumer {
        let config = KafkaConfig::new(address, "g", "g-0");
        let consumer = Consumer::new(&config.consumer_settings()).expect("made");
        consumer.subscribe(&["in".to_owned()]).expect("subscribes");
        // SAFETY: the queue is the consumer's.
        eventually(
            "it is given partitions",
            || unsafe { sys::rd_kafka_queue_length(consumer.queue) } > 0,
        );
        consumer
    }

    fn threads(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    #[test]
    fn a_member_that_has_not_answered_what_it_was_given_leaves_its_group() {
        let Some(kafka) = Kafka::for_test() else { return };
        let admin = Admin::connect(&KafkaConfig::new(kafka.address(), "g", "g-0")).expect("connects");
        admin.create("in", 2, 1, &BTreeMap::new()).expect("made");
        let mut leaves = member(kafka.address());
        assert_eq!(leaves.close(Duration::from_secs(60)), Ok(()));
        let mut gives_up = member(kafka.address());
        let given_up = gives_up.close(Duration::ZERO);
        assert!(matches!(given_up, Err(LogError::Retriable(_))), "{given_up:?}");
        drop((leaves, gives_up));
        eventually("no client is left", || {
            threads("kafka-reaper") == 0 && threads("rdk:main") <= 1
        });
        drop(admin);
    }

    #[test]
    fn a_partition_without_a_leader_is_asked_for_again() {
        let unled = Err::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        let text = "offsets: Local: Unknown partition".to_owned();
        assert_eq!(check_listed(unled, "offsets"), Err(LogError::Retriable(text.clone())));
        assert_eq!(check(unled, "offsets"), Err(LogError::Fatal(text)));
        let denied = Err::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        assert!(matches!(check_listed(denied, "offsets"), Err(LogError::Fatal(_))));
        assert_eq!(check_listed(Err::RD_KAFKA_RESP_ERR_NO_ERROR, "offsets"), Ok(()));
    }
}
