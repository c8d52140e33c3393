//! Events in order of time, however many: what does not fit into memory goes sorted to a temporary file and is merged from there.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
};

use event::{Event, Millis};

/// Gathers events.
pub struct Sorter {
    budget: usize,
    /// Encoded events, one behind the other, and per event its time and where it ends.
    bytes: Vec<u8>,
    places: Vec<(Millis, usize, usize)>,
    spilled: Option<(BufWriter<File>, u64)>,
    runs: Vec<(u64, u64)>,
    events: u64,
    last: Option<Millis>,
}

/// Events in order of time; those of one time stand in the order in which they were put in. They may be read more than once.
pub struct Sorted {
    bytes: Vec<u8>,
    places: Vec<(Millis, usize, usize)>,
    spilled: Option<File>,
    runs: Vec<(u64, u64)>,
    events: u64,
    last: Option<Millis>,
}

impl Sorter {
    /// A sorter that holds about `budget` bytes in memory.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            budget,
            bytes: Vec::new(),
            places: Vec::new(),
            spilled: None,
            runs: Vec::new(),
            events: 0,
            last: None,
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// The disk's, if a temporary file is needed and cannot be written.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        let begin = self.bytes.len();
        codec::encode_event(event, &mut self.bytes);
        self.places.push((event.time, begin, self.bytes.len()));
        self.events += 1;
        self.last = self.last.max(Some(event.time));
        let held = self.bytes.len() + self.places.len() * size_of::<(Millis, usize, usize)>();
        if held < self.budget {
            return Ok(());
        }
        self.places.sort_by_key(|(time, ..)| *time);
        let (file, end) = match &mut self.spilled {
            Some((file, end)) => (file, end),
            None => {
                let (file, end) = self.spilled.insert((BufWriter::new(tempfile::tempfile()?), 0));
                (file, end)
            }
        };
        let begin = *end;
        for (time, from, to) in self.places.drain(..) {
            let event = &self.bytes[from..to];
            file.write_all(&time.0.to_be_bytes())?;
            file.write_all(&(event.len() as u64).to_be_bytes())?;
            file.write_all(event)?;
            *end += 16 + event.len() as u64;
        }
        self.runs.push((begin, *end));
        self.bytes.clear();
        Ok(())
    }

    /// Everything that was put in.
    ///
    /// # Errors
    /// The disk's.
    pub fn finish(mut self) -> io::Result<Sorted> {
        self.places.sort_by_key(|(time, ..)| *time);
        let spilled = self.spilled.take();
        let file = spilled.map(|(file, _)| file.into_inner().map_err(io::IntoInnerError::into_error));
        Ok(Sorted {
            bytes: self.bytes,
            places: self.places,
            spilled: file.transpose()?,
            runs: self.runs,
            events: self.events,
            last: self.last,
        })
    }
}

impl Sorted {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.events
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The time of the last event.
    #[must_use]
    pub fn last(&self) -> Option<Millis> {
        self.last
    }

    /// The events from the first on.
    ///
    /// # Errors
    /// The disk's.
    pub fn events(&self) -> io::Result<Events<'_>> {
        let mut events = Events {
            of: self,
            next: 0,
            runs: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for (begin, end) in &self.runs {
            let run = events.runs.len();
            events.runs.push(Run {
                at: *begin,
                end: *end,
                ahead: Vec::new(),
                used: 0,
            });
            if let Some(time) = events.peek(run)? {
                events.heads.push(Reverse((time, run)));
            }
        }
        if let Some((time, ..)) = self.places.first() {
            events.heads.push(Reverse((*time, events.runs.len())));
        }
        Ok(events)
    }
}

/// Reads sorted events; the earliest of all runs comes next, and of equal ones that of the earlier run.
pub struct Events<'a> {
    of: &'a Sorted,
    /// The next of those in memory, which are the last run.
    next: usize,
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(Millis, usize)>>,
}

struct Run {
    at: u64,
    end: u64,
    ahead: Vec<u8>,
    used: usize,
}

/// How much of a run is read at once.
const AHEAD: usize = 64 * 1024;

impl Run {
    /// The next `length` bytes of the run.
    fn take(&mut self, file: &File, length: usize) -> io::Result<&[u8]> {
        if self.ahead.len() - self.used < length {
            self.ahead.drain(..self.used);
            self.used = 0;
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let have = self.ahead.len();
            let want = length.max(AHEAD).min(left + have);
            self.ahead.resize(want, 0);
            file.read_exact_at(&mut self.ahead[have..], self.at)?;
            self.at += (want - have) as u64;
        }
        let begin = self.used;
        self.used += length;
        self.ahead
            .get(begin..self.used)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    fn number(&mut self, file: &File) -> io::Result<u64> {
        let mut number = [0; 8];
        number.copy_from_slice(self.take(file, 8)?);
        Ok(u64::from_be_bytes(number))
    }

    fn is_over(&self) -> bool {
        self.at == self.end && self.used == self.ahead.len()
    }
}

impl Events<'_> {
    /// The time of a run's next event, which is read past.
    fn peek(&mut self, run: usize) -> io::Result<Option<Millis>> {
        let (Some(file), Some(run)) = (&self.of.spilled, self.runs.get_mut(run)) else {
            return Ok(None);
        };
        if run.is_over() {
            return Ok(None);
        }
        Ok(Some(Millis(run.number(file)?.cast_signed())))
    }

    fn read(&mut self) -> io::Result<Option<Event>> {
        let Some(Reverse((_, run))) = self.heads.pop() else {
            return Ok(None);
        };
        let broken = |refusal: codec::Refusal| io::Error::other(refusal.message);
        if run == self.runs.len() {
            let (_, from, to) = self.of.places[self.next];
            self.next += 1;
            if let Some((time, ..)) = self.of.places.get(self.next) {
                self.heads.push(Reverse((*time, run)));
            }
            return codec::decode_event(&self.of.bytes[from..to]).map(Some).map_err(broken);
        }
        let Some(file) = &self.of.spilled else { return Ok(None) };
        let length = usize::try_from(self.runs[run].number(file)?).unwrap_or(usize::MAX);
        let event = codec::decode_event(self.runs[run].take(file, length)?).map_err(broken)?;
        if let Some(time) = self.peek(run)? {
            self.heads.push(Reverse((time, run)));
        }
        Ok(Some(event))
    }
}

impl Iterator for Events<'_> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of the events in the order in which they come back.
    fn sorted(budget: usize, times: &[i64]) -> (usize, Vec<String>) {
        let mut sorter = Sorter::new(budget);
        for (index, time) in times.iter().enumerate() {
            let event = Event {
                id: index.to_string(),
                kind: "a.b".to_owned(),
                time: Millis(*time),
                ..Event::default()
            };
            sorter.push(&event).expect("written");
        }
        let sorted = sorter.finish().expect("written");
        let ids = || -> Vec<String> {
            let events = sorted.events().expect("read");
            events.map(|event| event.expect("read").id).collect()
        };
        assert_eq!(ids(), ids(), "they may be read twice");
        (sorted.runs.len(), ids())
    }

    #[test]
    fn what_does_not_fit_comes_back_in_the_same_order() {
        let times: Vec<i64> = (0..5000).map(|index: i64| (index * 7919) % 61 - 30).collect();
        let mut expected: Vec<usize> = (0..times.len()).collect();
        expected.sort_by_key(|index| times[*index]);
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        for (budget, at_least) in [(usize::MAX, 0), (100_000, 2), (2_000, 100)] {
            let (runs, ids) = sorted(budget, &times);
            assert!(runs >= at_least, "runs on disk: {runs}");
            assert_eq!(ids, expected, "budget {budget}");
        }
        assert_eq!(sorted(1, &[]).1, Vec::<String>::new());
    }
}
