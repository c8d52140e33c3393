//! Where runs of a sequence stand: moved on, filled, kept or made superfluous by others.

use event::Millis;

use super::{pick, sequence::counted, subject};
use crate::{
    Ignored, Instance, Note, Observer, Run, Value,
    catalogue::Program,
    file::{See, Step},
};

/// Chooses the latest events of a gathered step that fill it, if some do: they become the run's evidence of the step.
pub(super) fn gathered(run: &mut Run, see: &See, index: usize) -> bool {
    let times = usize::from(see.times);
    if usize::from(run.seen) < times {
        return false;
    }
    let at_least = see.across.as_ref().map_or(0, |across| usize::from(across.at_least));
    let base = run.evidence.len() - usize::from(run.seen);
    let mut chosen = Vec::new();
    let value = |event: usize| Value::from(&run.tail[event].value);
    if !pick::latest(usize::from(run.seen), value, times, at_least, None, &mut chosen) {
        return false;
    }
    run.counts[index - 1] = run.tail[chosen[0]].before;
    for (place, event) in chosen.iter().enumerate() {
        run.evidence[base + place] = run.evidence[base + event];
    }
    run.evidence.truncate(base + times);
    run.tail.clear();
    true
}

/// Drops the gathered events that nothing can need, a further one to come.
pub(super) fn trim(run: &mut Run, see: &See) {
    let times = usize::from(see.times);
    let at_least = see.across.as_ref().map_or(0, |across| usize::from(across.at_least));
    // The next event is one of the `times`.
    let others = times - 1;
    while usize::from(run.seen) > others {
        let value = |event: usize| Value::from(&run.tail[event].value);
        let gone = if at_least == 0 {
            Some(0)
        } else {
            pick::needless(usize::from(run.seen), value, others, at_least)
        };
        let Some(gone) = gone else { return };
        let base = run.evidence.len() - usize::from(run.seen);
        run.evidence.remove(base + gone);
        run.tail.remove(gone);
        run.seen -= 1;
    }
}

/// Moves behind a completed step. A run that is behind the last step has `step` equal to the number of steps.
pub(super) fn enter(program: &Program, run: &mut Run, completed: usize, at: Millis) {
    run.done = at;
    run.seen = 0;
    run.deadline = None;
    let Some(next) = program.next[completed] else {
        run.step = u8::try_from(program.steps().len()).unwrap_or(u8::MAX);
        return;
    };
    run.step = u8::try_from(next).unwrap_or(u8::MAX);
    for (value, live) in run.captured.iter_mut().zip(&program.live_slots[next]) {
        if !live {
            *value = None;
        }
    }
    if let Step::Wait(_, wait) = &program.steps()[next] {
        run.deadline = Some(at.plus(*wait));
    }
}

pub(super) fn same_place(left: &Run, right: &Run) -> bool {
    left.step == right.step && left.seen == right.seen && left.captured == right.captured
}

/// Whether a run's events are, position by position, no earlier than the other's.
pub(super) fn no_earlier(left: &Run, right: &Run) -> bool {
    left.evidence
        .iter()
        .zip(&right.evidence)
        .all(|(mine, theirs)| mine >= theirs)
}

/// Puts a run into its place, where runs that it makes superfluous go.
pub(super) fn insert<O: Observer>(
    program: &Program,
    instance: &mut Instance,
    run: Run,
    spare: &mut Vec<Run>,
    at: Millis,
    observer: &mut O,
) {
    let is_last = usize::from(run.step) + 1 == program.steps().len();
    let mut stays = true;
    if let Some(deadline) = run.deadline
        && deadline.since(run.start) > program.within
    {
        if O::ACTIVE {
            let ignored = Ignored::Window {
                step: usize::from(run.step),
                span: deadline.since(run.start),
                within: program.within,
            };
            observer.note(&subject(program, &instance.by, at), &Note::Ignored(ignored));
        }
        spare.push(run);
        return;
    }
    let mut place = 0;
    while place < instance.runs.len() {
        let other = &instance.runs[place];
        let mut goes = false;
        if same_place(other, &run) {
            if other.deadline == run.deadline {
                stays &= !no_earlier(other, &run);
                goes = stays && no_earlier(&run, other);
            } else if is_last && run.deadline.is_some() {
                // Whatever breaks the earliest wait breaks every later one too.
                stays &= other.deadline > run.deadline;
                goes = other.deadline > run.deadline;
            }
        }
        if !stays {
            break;
        }
        if goes {
            let gone = instance.runs.remove(place);
            if O::ACTIVE {
                let note = Note::Replaced {
                    step: usize::from(gone.step),
                    since: gone.start,
                };
                observer.note(&subject(program, &instance.by, at), &note);
            }
            spare.push(gone);
        } else {
            place += 1;
        }
    }
    if stays {
        instance.add(run);
    } else {
        spare.push(run);
    }
}

/// Moves a run behind the wait that has held; it comes back if that completes the match.
pub(super) fn fired<O: Observer>(
    program: &Program,
    instance: &mut Instance,
    mut run: Run,
    due: Millis,
    spare: &mut Vec<Run>,
    observer: &mut O,
) -> Option<Run> {
    let step = usize::from(run.step);
    if program.see_index[step] == 0 && program.next[step].is_none() {
        run.counts[0] = counted(instance, program, due, u64::MAX);
    }
    enter(program, &mut run, step, due);
    if O::ACTIVE {
        let note = Note::Completed {
            step,
            next: program.next[step],
            deadline: run.deadline,
        };
        observer.note(&subject(program, &instance.by, due), &note);
    }
    if usize::from(run.step) < program.steps().len() {
        insert(program, instance, run, spare, due, observer);
        return None;
    }
    Some(run)
}
