//! Stackful coroutines: a worker runs unchanged on one thread beside others, and gives way wherever it waits.

use std::{cell::Cell, ptr};

use corosensei::{Coroutine, CoroutineResult, Yielder, stack::DefaultStack};

type Inner = Coroutine<(), (), ()>;

thread_local! {
    /// The fiber that runs, as the way back to whoever resumed it; null outside of any.
    static RUNNING: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// Enough for a worker with its stages.
const STACK: usize = 2 << 20;

/// Something that runs until it waits, and goes on when it is resumed.
pub struct Fiber(Inner);

impl Fiber {
    /// A fiber that has not begun.
    ///
    /// # Panics
    /// If there is no memory for its stack.
    #[must_use]
    pub fn new(body: impl FnOnce() + 'static) -> Self {
        let stack = DefaultStack::new(STACK).expect("there is memory for a stack");
        Self(Inner::with_stack(stack, move |yielder, ()| {
            RUNNING.set(yielder);
            body();
        }))
    }

    /// Runs it until it waits; true once it has ended.
    pub fn resume(&mut self) -> bool {
        let before = RUNNING.get();
        let result = self.0.resume(());
        RUNNING.set(before);
        matches!(result, CoroutineResult::Return(()))
    }
}

/// Gives way until somebody resumes the fiber that runs.
///
/// # Panics
/// If it is called outside of a fiber.
pub fn wait() {
    let running = RUNNING.get();
    assert!(!running.is_null(), "only a fiber can wait");
    // SAFETY: the pointer was set by the fiber that runs now, whose frame, and with it the yielder, lives until its body returns.
    unsafe { &*running }.suspend(());
    RUNNING.set(running);
}
