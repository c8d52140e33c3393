//! Once its buffers have grown, reading a text allocates nothing, by lexicon and by model.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use event::{Modality, Role};
use sentiment::{Input, Scorer, Scratch, samples};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn inputs() -> Vec<Input<'static>> {
    let input = |lang, body| Input {
        body,
        lang,
        role: Role::Customer,
        modality: Modality::Text,
        asr_confidence: None,
    };
    let mut inputs: Vec<Input<'_>> = samples::ENGLISH
        .iter()
        .map(|(_, body)| input(Some("en"), *body))
        .collect();
    inputs.extend(samples::OTHERS.iter().map(|(lang, body)| input(Some(*lang), *body)));
    inputs.push(input(None, samples::ENGLISH[3].1));
    inputs.push(input(Some("it"), "BELLISSIMOOO 😡 :) l'assistenza è velocissima!!!"));
    inputs.push(input(
        Some("nl"),
        "klantonvriendelijk en superblij, wachtwoordherstelprocedure",
    ));
    inputs.push(input(Some("de"), "Unfreundlichkeit und Geschwindigkeitsüberschreitung"));
    inputs.push(input(Some("xx"), "?"));
    inputs.push(Input {
        modality: Modality::Transcript,
        ..input(Some("en"), "uh it is uh not good you know")
    });
    inputs
}

#[track_caller]
fn none(scorer: &Scorer) {
    let inputs = inputs();
    let mut scratch = Scratch::default();
    let mut read = || {
        inputs
            .iter()
            .filter(|input| {
                scorer
                    .read(input, &mut scratch)
                    .is_some_and(|reading| reading.score.is_some())
            })
            .count()
    };
    let warm = read();
    assert!(warm > inputs.len() / 2);
    let before = COUNT.with(Cell::get);
    for _ in 0..10 {
        assert_eq!(read(), warm);
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
}

#[test]
fn reading_allocates_nothing() {
    none(&Scorer::new());
    none(&Scorer::with(&[samples::model()]).expect("sound"));
}
