//! How the kernel accesses its own translation tables, and the TLB.
//!
//! A table is accessed in one of three ways: tables inside the image through the image map; others
//! through the early window, one frame at a time, until the linear map exists, and through the
//! linear map from then on.
//!
//! The early window and the device tree's slot need tables themselves before there is any
//! allocator: these are static, as is the first table of the device region.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aarch64_cpu::asm::barrier;
use boot::descriptor::{Access, Descriptor, Level};
use boot::layout::{DEVICE_BASE, FIXMAP_BASE, KIMAGE_BASE, LINEAR_BASE, MEGA_BLOCK};
use mm_reclaim::units::{PAGE_SIZE, PhysAddr};

use super::table::TableMemory;

/// The address of the early window: after the 4 MiB of the device tree's slot.
const WINDOW: u64 = FIXMAP_BASE + 2 * MEGA_BLOCK;

#[repr(C, align(4096))]
struct StaticTable([AtomicU64; 512]);

impl StaticTable {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }
}

static FIXMAP_L2: StaticTable = StaticTable::new();
/// Two for the device tree, one for the window.
static FIXMAP_L3: [StaticTable; 3] = [const { StaticTable::new() }; 3];
static DEVICE_L2: StaticTable = StaticTable::new();
static DEVICE_L3: StaticTable = StaticTable::new();

/// Access to the tables. There is one, inside the kernel map.
pub(super) struct KernelTables {
    /// The address of the image.
    image: PhysAddr,
    /// Its bytes.
    image_size: u64,
    /// Whether the linear map can be used.
    linear: bool,
    /// The frame that the window maps.
    window: Option<PhysAddr>,
}

impl KernelTables {
    pub(super) const fn new() -> Self {
        Self { image: PhysAddr(0), image_size: 0, linear: false, window: None }
    }

    /// Sets the address of the image and links the static tables below `root`.
    pub(super) fn init(&mut self, image: PhysAddr, image_size: u64, root: PhysAddr) {
        (self.image, self.image_size) = (image, image_size);
        self.link(root, Level::One.index(FIXMAP_BASE), &FIXMAP_L2);
        for (index, table) in FIXMAP_L3.iter().enumerate() {
            self.link(self.physical(&FIXMAP_L2), index, table);
        }
        self.link(root, Level::One.index(DEVICE_BASE), &DEVICE_L2);
        self.link(self.physical(&DEVICE_L2), 0, &DEVICE_L3);
        self.publish();
    }

    /// From now on tables are accessed through the linear map.
    pub(super) fn use_linear_map(&mut self) {
        self.show(None);
        self.linear = true;
    }

    fn link(&mut self, above: PhysAddr, index: usize, table: &StaticTable) {
        self.store(above, index, Descriptor::table(self.physical(table).0));
    }

    /// The physical address of something in the image.
    fn physical(&self, table: &StaticTable) -> PhysAddr {
        let offset = (&raw const *table).addr() as u64 - KIMAGE_BASE;
        PhysAddr(self.image.0 + offset)
    }

    /// Makes the early window map `frame`: the former mapping is removed and invalidated first.
    fn show(&mut self, frame: Option<PhysAddr>) {
        let entry = &FIXMAP_L3[2].0[0];
        if self.window.is_some() {
            entry.store(Descriptor::INVALID.0, Relaxed);
            self.publish();
            self.forget(WINDOW);
        }
        if let Some(PhysAddr(pa)) = frame {
            entry.store(Descriptor::leaf(Level::Three, pa, Access::ReadWrite).0, Relaxed);
            self.publish();
        }
        self.window = frame;
    }

    /// An address of the table or future table at `pa`, valid until the next call.
    fn reach(&mut self, pa: PhysAddr) -> *mut u64 {
        let offset = pa.0.wrapping_sub(self.image.0);
        let va = if offset < self.image_size {
            KIMAGE_BASE + offset
        } else if self.linear {
            LINEAR_BASE + pa.0
        } else {
            if self.window != Some(pa) {
                self.show(Some(pa));
            }
            WINDOW
        };
        va as *mut u64
    }

    fn entry(&mut self, table: PhysAddr, index: usize) -> &AtomicU64 {
        assert!(index < 512, "a table has 512 entries");
        let at = self.reach(table).wrapping_add(index);
        // SAFETY: `reach` gives a mapped address of the whole frame; it stays so until the
        // next call, which the borrow of `self` forbids. Tables are only accessed here, and
        // by the walker, which copes with atomic words.
        unsafe { AtomicU64::from_ptr(at) }
    }
}

impl TableMemory for KernelTables {
    fn load(&mut self, table: PhysAddr, index: usize) -> Descriptor {
        Descriptor(self.entry(table, index).load(Relaxed))
    }

    fn store(&mut self, table: PhysAddr, index: usize, entry: Descriptor) {
        self.entry(table, index).store(entry.0, Relaxed);
    }

    fn zero(&mut self, table: PhysAddr) {
        let frame = self.reach(table).cast::<u8>();
        // SAFETY: `reach` gives a mapped address of the whole frame, which becomes a table and has
        // no other user.
        unsafe { frame.write_bytes(0, PAGE_SIZE) };
    }

    fn publish(&mut self) {
        barrier::dsb(barrier::ISHST);
        barrier::isb(barrier::SY);
    }

    fn forget(&mut self, va: u64) {
        let page = (va >> 12) & 0xfff_ffff_ffff;
        // SAFETY: an invalidation only makes the walker read the tables again.
        unsafe { asm!("tlbi vaae1is, {}", in(reg) page, options(nostack, preserves_flags)) };
        barrier::dsb(barrier::ISH);
        barrier::isb(barrier::SY);
    }
}
