//! An allocator that counts while it is asked to: `waymark bench pattern` says what an event allocates.

use std::{
    alloc::{GlobalAlloc, Layout},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Off but in a bench: an allocation then costs one look at a word that nobody writes.
static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Passes everything on to another allocator.
#[derive(Debug)]
pub struct Counted<A>(pub A);

fn count() {
    if IS_COUNTING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the inner allocator as it came.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.0.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { self.0.realloc(place, layout, size) }
    }
}

/// How many allocations the process makes during an operation; `None` if its allocator does not count.
pub fn during(operation: impl FnOnce()) -> Option<u64> {
    IS_COUNTING.store(true, Ordering::Relaxed);
    let before = COUNT.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(0_u8)));
    let counts = COUNT.load(Ordering::Relaxed) > before;
    let before = COUNT.load(Ordering::Relaxed);
    operation();
    let after = COUNT.load(Ordering::Relaxed);
    IS_COUNTING.store(false, Ordering::Relaxed);
    counts.then_some(after - before)
}
