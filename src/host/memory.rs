//! Memory of the VM: small blocks that were freed are used again at once.
//!
//! A call needs some twenty small blocks for a moment, of the same sizes as the call before. The allocator of Rust's standard library looks for
//! the best place of each, and joins it with its neighbours when it goes, which touches more code and data than the work that the blocks are
//! for. Here a block that goes is put on a list of its size, and the next of that size takes it: the last one that went, which is still in the
//! processor's cache. The lists are short, so what a burst of callers took goes back to where it came from. The VM has one thread.
#![expect(unsafe_code, reason = "an allocator hands out addresses: each use says why it holds")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

/// The sizes of blocks, and of what is taken for them. Most structures of the filter are below 128 bytes, most names and values too.
const SIZES: [usize; 11] = [16, 32, 48, 64, 80, 96, 112, 128, 256, 512, 1024];

/// Larger alignments are rare.
const ALIGNMENT: usize = 8;

/// How many free blocks of each size are kept: more than one call has, so that 150 kB are kept at most.
const KEPT: u16 = 64;

#[global_allocator]
static BLOCKS: Blocks = Blocks {
    free: [const { Free { first: Cell::new(null_mut()), count: Cell::new(0) } }; SIZES.len()],
};

/// The lists of free blocks.
struct Blocks {
    free: [Free; SIZES.len()],
}

/// The free blocks of one size, the last that went first. Each begins with the address of the next.
struct Free {
    first: Cell<*mut u8>,
    count: Cell<u16>,
}

// SAFETY: a VM has one thread, and no callback of Envoy's interrupts another.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// The list for a layout, and what its blocks are taken as; `None` for what is too large for all.
    fn list(&self, layout: Layout) -> Option<(&Free, Layout)> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let place = match layout.size() {
            0..=128 => layout.size().saturating_sub(1) / 16,
            129..=256 => 8,
            257..=512 => 9,
            513..=1024 => 10,
            _ => return None,
        };
        let size = *SIZES.get(place)?;
        Some((self.free.get(place)?, Layout::from_size_align(size, ALIGNMENT).ok()?))
    }
}

// SAFETY: every block comes from the system's allocator, with a layout that follows from the one that is asked for, and goes back to it with
// the same. A block on a list is nobody's: it came from `dealloc`, and leaves the list before it is given out.
unsafe impl GlobalAlloc for Blocks {
    // Out of line, since it is called in thousands of places: inlined, it makes the filter a sixth larger.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((free, whole)) = self.list(layout) else {
            // SAFETY: as the caller promised.
            return unsafe { System.alloc(layout) };
        };
        let first = free.first.get();
        if first.is_null() {
            // SAFETY: no size is zero.
            return unsafe { System.alloc(whole) };
        }
        // SAFETY: a block on the list begins with the address of the next, or null.
        free.first.set(unsafe { first.cast::<*mut u8>().read() });
        free.count.set(free.count.get() - 1);
        first
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some((free, whole)) = self.list(layout) else {
            // SAFETY: as the caller promised.
            return unsafe { System.dealloc(block, layout) };
        };
        if free.count.get() == KEPT {
            // SAFETY: it was taken with this layout.
            return unsafe { System.dealloc(block, whole) };
        }
        // SAFETY: the block is nobody's any more, and has room for an address, which it is aligned for.
        unsafe { block.cast::<*mut u8>().write(free.first.get()) };
        free.first.set(block);
        free.count.set(free.count.get() + 1);
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        match (self.list(layout), self.list(new)) {
            // SAFETY: as the caller promised.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some((_, old)), Some((_, wanted))) if old == wanted => block,
            (Some(_) | None, Some(_) | None) => {
                // SAFETY: as the caller promised, `new` has a size.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    let kept = layout.size().min(size);
                    // SAFETY: both blocks have so many bytes, and are two; the old one came from here with this layout.
                    unsafe {
                        block.copy_to_nonoverlapping(moved, kept);
                        self.dealloc(block, layout);
                    }
                }
                moved
            }
        }
    }
}
