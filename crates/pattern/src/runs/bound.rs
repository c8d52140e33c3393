//! Runs and the catalogue that they are stepped by: which program each instance has, and which of them are kept as chains.

use std::collections::BTreeSet;

use super::{Link, Marks, Run, Runs, key};
use crate::Catalogue;

impl Runs {
    /// Finds each instance's program, and drops the instances that have none.
    pub(crate) fn bind(&mut self, catalogue: &Catalogue) {
        self.thaw();
        self.slots.clear();
        let slots = &mut self.slots;
        self.instances
            .retain(|instance| match catalogue.number(&instance.pattern, instance.version) {
                Some(number) => {
                    slots.push(number);
                    true
                }
                None => false,
            });
        self.bound = Some(catalogue.stamp);
        self.names = Some(catalogue.names.clone());
        self.is_dated = false;
        self.weight = 0;
        self.freeze(catalogue);
        for (instance, slot) in self.instances.iter_mut().zip(&self.slots) {
            self.is_dated |= catalogue.programs[*slot as usize].pattern.when.during.is_some();
            instance.due = instance.earliest();
            instance.weight = instance.weigh();
            self.weight += instance.weight;
        }
        self.refresh_due();
        self.sweep(&mut Marks::default());
    }

    /// Makes instances of all chains.
    pub(crate) fn thaw(&mut self) {
        if self.chains.is_empty() {
            return;
        }
        let mut instances = Vec::new();
        self.each(&mut |instance| instances.push(Box::new(instance.clone())));
        let programs = self.chains.iter().map(Link::program);
        self.slots.extend(programs);
        self.slots.sort_unstable();
        // Several instances of a program are instances of others than chains, and each of them has its slot already.
        let chains: BTreeSet<u32> = self.chains.iter().map(Link::program).collect();
        let mut last = None;
        self.slots.retain(|slot| {
            let is_same = chains.contains(slot) && last == Some(*slot);
            last = Some(*slot);
            !is_same
        });
        self.weight += self.chains.len();
        self.instances = instances;
        self.chains.clear();
    }

    /// Makes chains of the instances that can be.
    pub(crate) fn freeze(&mut self, catalogue: &Catalogue) {
        let mut place = 0;
        while place < self.instances.len() {
            let program = self.slots[place];
            if !catalogue.programs[program as usize].is_chain {
                place += 1;
                continue;
            }
            let steps = catalogue.programs[program as usize].length;
            let instance = self.instances.remove(place);
            self.slots.remove(place);
            self.weight -= instance.weight.min(self.weight);
            for run in &instance.runs {
                self.newest = run.evidence.iter().copied().fold(self.newest, u64::max);
                let Some(link) = run.link(program, steps) else { continue };
                self.chains.overwrite(link);
            }
            if let Some(first) = self.chains.find(key(program, 1)) {
                let earlier = instance.sightings.len().saturating_sub(1);
                let times = instance.sightings.iter().take(earlier).map(|sighting| sighting.at);
                self.chains.set_earlier(first, times);
            }
        }
    }
}

impl Run {
    /// As a run of a chain of so many steps, if it is one.
    fn link(&self, program: u32, steps: u8) -> Option<Link> {
        let is_chain = (1..steps).contains(&self.step) && self.evidence.len() == usize::from(self.step);
        let mut link = Link {
            key: key(program, self.step),
            start: self.start,
            done: u32::try_from(self.done.since(self.start)).ok()?,
            counts: self.counts.map(|count| u16::try_from(count).unwrap_or(u16::MAX)),
            ..Link::default()
        };
        for (low, index) in link.evidence.iter_mut().zip(&self.evidence) {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
            {
                *low = *index as u32;
            }
        }
        is_chain.then_some(link)
    }
}
