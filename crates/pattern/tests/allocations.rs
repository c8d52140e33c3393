//! Memory: once warm, an event that completes no match allocates nothing.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use pattern::bench::{Load, World};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has nothing to count any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_warm_engine_allocates_nothing_for_an_event() {
    for (load, patterns, customers, warm) in [
        (Load::Spread, 1, 10, 20_000),
        (Load::Spread, 1000, 10, 200_000),
        (Load::Restart, 1000, 1, 500),
        (Load::Move, 1000, 1, 500),
    ] {
        let mut world = World::new(load, patterns, customers);
        world.run(warm);
        let before = ALLOCATIONS.get();
        world.run(warm / 10);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{load:?} of {patterns} patterns");
        assert_eq!((world.matches, world.capped), (0, 0));
        let runs = world
            .runs()
            .flat_map(pattern::Runs::instances)
            .map(|instance| instance.runs.len());
        assert!(runs.sum::<usize>() > 0, "{load:?} moves nothing");
    }
}
