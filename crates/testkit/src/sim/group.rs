//! A consumer group: members, generations, static names, and the cooperative rebalance in two phases.

use std::collections::{BTreeMap, BTreeSet};

use stream::TopicPartition;

/// A group as its coordinator knows it.
#[derive(Debug, Default, Clone)]
pub(super) struct Group {
    pub generation: i32,
    members: BTreeMap<u64, Member>,
    owners: BTreeMap<TopicPartition, u64>,
    /// In which generation each partition was given.
    given: BTreeMap<TopicPartition, i32>,
    /// Who should have what, and in which generation that was worked out.
    wanted: BTreeMap<u64, BTreeSet<TopicPartition>>,
    planned: Option<i32>,
    /// All that there is to be read.
    inputs: BTreeSet<TopicPartition>,
    /// The members that it had when its coordinator last took it for what it was earlier, and have not been heard since.
    unheard: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct Member {
    /// The generation that it has heard of.
    synced: i32,
    /// Out of the group if nothing was heard by then.
    deadline: u64,
    instance: Option<String>,
    /// Asked back and not given back yet.
    revoking: BTreeSet<TopicPartition>,
}

/// What a member hears.
#[derive(Debug, Clone, Default)]
pub(super) struct Sync {
    pub generation: i32,
    pub assigned: Vec<TopicPartition>,
    pub revoked: Vec<TopicPartition>,
}

impl Group {
    /// Takes a member in. One with the name of another takes its place, and its partitions at once.
    pub fn join(&mut self, member: u64, instance: Option<String>, inputs: &[TopicPartition], deadline: u64) -> Sync {
        self.inputs.extend(inputs.iter().cloned());
        let predecessor = instance.as_ref().and_then(|name| {
            let same = self.members.iter().find(|(_, one)| one.instance.as_ref() == Some(name));
            same.map(|(id, _)| *id).filter(|id| *id != member)
        });
        let mut own = Member {
            synced: -1,
            deadline,
            instance,
            revoking: BTreeSet::new(),
        };
        let Some(predecessor) = predecessor else {
            self.members.insert(member, own);
            self.generation += 1;
            return Sync {
                generation: -1,
                ..Sync::default()
            };
        };
        // A static member's return moves nothing.
        if let Some(before) = self.members.remove(&predecessor) {
            own.synced = before.synced;
        }
        self.members.insert(member, own);
        if let Some(wanted) = self.wanted.remove(&predecessor) {
            self.wanted.insert(member, wanted);
        }
        let mut assigned = Vec::new();
        for (partition, owner) in &mut self.owners {
            if *owner == predecessor {
                *owner = member;
                assigned.push(partition.clone());
            }
        }
        Sync {
            generation: self.generation,
            assigned,
            revoked: Vec::new(),
        }
    }

    pub fn leave(&mut self, member: u64) {
        let Some(one) = self.members.get(&member) else { return };
        if one.instance.is_none() {
            self.remove(member);
        }
    }

    fn remove(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            self.owners.retain(|_, owner| *owner != member);
            self.generation += 1;
        }
    }

    /// Puts out who was not heard.
    pub fn sweep(&mut self, now: u64) {
        let silent: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, one)| one.deadline < now)
            .map(|(id, _)| *id)
            .collect();
        for member in silent {
            self.remove(member);
        }
    }

    /// A sign of life; `None` if it is no member.
    pub fn heartbeat(&mut self, member: u64, deadline: u64) -> Option<Sync> {
        if self.members.contains_key(&member) {
            self.plan();
        }
        let wanted = self.wanted.get(&member).cloned().unwrap_or_default();
        let (generation, owners) = (self.generation, &mut self.owners);
        let one = self.members.get_mut(&member)?;
        one.deadline = deadline;
        if one.synced == generation {
            return Some(Sync {
                generation,
                ..Sync::default()
            });
        }
        one.synced = generation;
        let mut sync = Sync {
            generation,
            ..Sync::default()
        };
        for partition in &self.inputs {
            let owner = owners.get(partition).copied();
            let wants = wanted.contains(partition);
            if wants && owner.is_none() {
                owners.insert(partition.clone(), member);
                self.given.insert(partition.clone(), generation);
                sync.assigned.push(partition.clone());
            } else if !wants && owner == Some(member) && one.revoking.insert(partition.clone()) {
                sync.revoked.push(partition.clone());
            }
        }
        Some(sync)
    }

    /// Who should have what in this generation: what members have, evened out. Worked out once, as a group's leader does.
    fn plan(&mut self) {
        if self.planned == Some(self.generation) {
            return;
        }
        self.planned = Some(self.generation);
        let share = self.inputs.len().div_ceil(self.members.len().max(1));
        let mut held: BTreeMap<u64, BTreeSet<TopicPartition>> =
            self.members.keys().map(|id| (*id, BTreeSet::new())).collect();
        let mut free = Vec::new();
        for partition in &self.inputs {
            match self.owners.get(partition).and_then(|owner| held.get_mut(owner)) {
                Some(has) if has.len() < share => {
                    has.insert(partition.clone());
                }
                _ => free.push(partition.clone()),
            }
        }
        for partition in free {
            if let Some(least) = held.values_mut().min_by_key(|has| has.len()) {
                least.insert(partition);
            }
        }
        self.wanted = held;
    }

    /// A member gives partitions back that it had in a generation. A late copy of that says nothing of those that it was given since.
    pub fn release(&mut self, member: u64, generation: i32, partitions: &[TopicPartition]) {
        let Some(one) = self.members.get_mut(&member) else {
            return;
        };
        for partition in partitions {
            if self.given.get(partition).is_some_and(|given| *given > generation) {
                continue;
            }
            one.revoking.remove(partition);
            if self.owners.get(partition) == Some(&member) {
                self.owners.remove(partition);
            }
        }
        self.generation += 1;
    }

    /// Its coordinator takes it for what it was earlier, and waits for those who were in it then.
    pub fn is_as_before(&mut self, before: Self, deadline: u64) {
        *self = before;
        for member in self.members.values_mut() {
            member.deadline = deadline;
        }
        self.unheard = self.members.keys().copied().collect();
    }

    /// Whether a member means the generation that there is here, when it is first heard after that.
    pub fn knows(&mut self, member: u64, generation: i32, owned: &BTreeSet<TopicPartition>) -> bool {
        if !self.unheard.remove(&member) {
            return true;
        }
        let here: BTreeSet<TopicPartition> = self
            .owners
            .iter()
            .filter(|(_, owner)| **owner == member)
            .map(|(partition, _)| partition.clone())
            .collect();
        generation == self.generation && *owned == here
    }

    pub fn has(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    pub fn is_current(&self, member: u64, generation: i32) -> bool {
        self.members.contains_key(&member) && generation == self.generation
    }

    /// Rank and number of members, and what tells their assignment from others, if it is in force; `None` if it is none. A static name is
    /// the first part of a member's id, so it keeps its rank.
    pub fn rank(&self, member: u64) -> Option<(i32, i32, Option<i64>)> {
        let mut ids: Vec<_> = self.members.iter().map(|(id, one)| (&one.instance, *id)).collect();
        ids.sort();
        let index = ids.iter().position(|(_, id)| *id == member)?;
        let int = |number: usize| i32::try_from(number).expect("a group is small");
        let given: Vec<String> = ids.iter().map(|(_, id)| format!("{:?}", self.wanted.get(id))).collect();
        let given: Vec<&[u8]> = given.iter().map(String::as_bytes).collect();
        let assignment = (self.planned == Some(self.generation)).then(|| stream::rows::hash_of(&given));
        Some((int(index), int(self.members.len()), assignment))
    }
}
