//! A live run takes few bytes of its rows. Besides it costs four or five for each further event of its first step inside the window,
//! by which counts are exact; a thousand patterns that all count the same thirty events are therefore not among these loads.

use codec::{Saved, save_journey};
use journey::Journey;
use pattern::{
    Instance, Kept, Runs,
    bench::{Load, World},
};

fn length(runs: Runs) -> usize {
    let journey = Journey {
        runs,
        ..Journey::default()
    };
    let mut length = 0;
    save_journey(&journey, &mut Saved::default(), &mut |name, value| {
        if codec::is_of_runs(name) {
            length += value.map_or(0, |value| value.len());
        }
    });
    length
}

#[test]
fn a_live_run_takes_at_most_forty_bytes_of_its_row() {
    for (load, patterns) in [(Load::Spread, 1000), (Load::Follow, 1000)] {
        let mut world = World::new(load, patterns, 10);
        world.run(3000);
        let (mut live, mut bytes, mut events) = (0, 0, 0);
        for runs in world.runs() {
            let own = runs.instances();
            let kept_events = || runs.events().map(Kept::from).collect();
            live += own.iter().map(|instance| instance.runs.len()).sum::<usize>();
            // What is kept of events is shared by the runs that name them; nothing else of the row is.
            let kept = length(Runs::restored(vec![Instance::default()], kept_events()));
            bytes += length(Runs::restored(own, kept_events())) - kept;
            events += kept;
        }
        println!(
            "{load:?}: {} bytes per run, {} of kept events",
            bytes / live,
            events / live
        );
        assert!(
            live > 100 && bytes <= 40 * live,
            "{load:?}: {bytes} bytes for {live} runs"
        );
    }
}
