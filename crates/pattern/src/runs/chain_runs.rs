//! The runs of one chain, read where they lie.

use std::sync::Arc;

use event::Millis;

use super::{Instance, Link, Run, Runs, Sighting, widened};

/// An instance whose runs are kept as a chain: no `by`, and nothing but runs and the times of earlier first events.
#[derive(Debug, Clone, Copy)]
pub struct ChainRuns<'a> {
    /// Pattern id.
    pub pattern: &'a Arc<str>,
    /// The version under which it began.
    pub version: i32,
    pub(super) runs: &'a Runs,
    /// Where its runs lie, in order of their steps: in the lower half.
    pub(super) places: &'a [u64],
}

/// A run of a chain. Its step is the one that it awaits, of which it has seen nothing.
#[derive(Debug, Clone, Copy)]
pub struct ChainRun<'a> {
    link: &'a Link,
    newest: u64,
}

impl<'a> ChainRuns<'a> {
    /// Its runs, in order of their steps.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = ChainRun<'a>> + use<'a> {
        let Self { runs, places, .. } = *self;
        places.iter().map(move |place| ChainRun {
            link: runs.chains.link(place_of(*place)),
            newest: runs.newest,
        })
    }

    /// If a run awaits the second step: the index of the event that began it, and the times of the events of the first step that are
    /// counted, that one last. None of them may be evidence.
    #[must_use]
    pub fn sightings(&self) -> Option<(u64, impl Iterator<Item = Millis> + Clone + use<'a>)> {
        let (runs, place) = (self.runs, place_of(*self.places.first()?));
        let link = runs.chains.link(place);
        let index = widened(link.evidence[0], runs.newest);
        (link.step() == 1).then(|| (index, runs.chains.earlier(place).chain([link.start])))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn place_of(place: u64) -> usize {
    place as u32 as usize
}

impl<'a> ChainRun<'a> {
    /// The step that it awaits.
    #[must_use]
    pub const fn step(&self) -> u8 {
        self.link.step()
    }

    /// Time of the first event.
    #[must_use]
    pub const fn start(&self) -> Millis {
        self.link.start
    }

    /// Completion of the step before.
    #[must_use]
    pub fn done(&self) -> Millis {
        self.link.start.plus(i64::from(self.link.done))
    }

    /// The indexes of its events.
    pub fn evidence(&self) -> impl ExactSizeIterator<Item = u64> + use<'a> {
        let newest = self.newest;
        self.link.events().iter().map(move |low| widened(*low, newest))
    }

    /// Per step: how many events matched it, as far as that is settled.
    #[must_use]
    pub const fn counts(&self) -> [u16; 8] {
        let counts = self.link.counts;
        // Elsewhere other things lie here.
        if self.link.step() == 1 {
            [counts[0], counts[1], 0, 0, 0, 0, 0, 0]
        } else {
            counts
        }
    }
}

impl From<&ChainRuns<'_>> for Instance {
    fn from(chain: &ChainRuns<'_>) -> Self {
        let mut instance = Self {
            pattern: chain.pattern.clone(),
            version: chain.version,
            weight: chain.places.len(),
            ..Self::default()
        };
        if let Some((index, times)) = chain.sightings() {
            instance.sightings.extend(times.map(|at| Sighting {
                index,
                at,
                members: 1,
                is_usable: false,
            }));
        }
        instance.runs.extend(chain.runs().map(|run| Run {
            step: run.step(),
            evidence: run.evidence().collect(),
            counts: run.counts().map(u32::from),
            start: run.start(),
            done: run.done(),
            ..Run::default()
        }));
        instance
    }
}
