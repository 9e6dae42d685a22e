//! A machine that runs: the crate over a [`World`], with kswapd and the disk.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mm_reclaim::env::{DeviceId, Prot, TaskFlags};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{Page, PageFlags};
use mm_reclaim::plan::{Config, Plan};
use mm_reclaim::space::{AreaFlags, SpaceError};
use mm_reclaim::swap::header;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};
use mm_reclaim::zone::{FrameRange, Mark, ZoneId};
use mm_reclaim::{Mm, Place};

use crate::disk::{Disk, Pace};
pub use crate::program::{FIRST, Program};
use crate::task as own;
use crate::world::{Stopped, World};

/// Blocks of the swap device, its header among them.
const BLOCKS: u32 = 64;
/// Frames in addition to those that a model asks for: the zero page, and the crate's objects.
const OWN: u32 = 7;
/// Checks after which something is assumed never to happen.
const PATIENCE: usize = 3000;

/// A running machine, as its tasks see it.
#[derive(Clone, Copy)]
pub struct Machine<'m> {
    /// The crate.
    pub mm: &'m Mm<'m, &'m World>,
    pub(crate) world: &'m World,
}

/// The daemons of a machine beside kswapd and the disk.
#[derive(Clone, Copy, Default)]
struct Daemons {
    reaps: bool,
    flushes: bool,
}

/// What one task of a model does.
pub type Body<'m> = Box<dyn FnOnce(Machine<'m>) + Send + 'm>;

/// A task of a model.
pub fn task<'m>(body: impl FnOnce(Machine<'m>) + Send + 'm) -> Body<'m> {
    Box::new(body)
}

impl<'m> Machine<'m> {
    /// Boots a machine with this many frames, lets `prepare` choose the tasks, and runs them
    /// concurrently. They end their programs: then all memory is free again and validation
    /// succeeds.
    ///
    /// # Panics
    /// If anything is wrong in the end.
    pub fn run(
        frames: u32,
        pace: Pace,
        prepare: impl for<'a> FnOnce(Machine<'a>) -> Vec<Body<'a>>,
    ) {
        Self::run_with(frames, pace, Daemons::default(), prepare);
    }

    /// The same with a reaper.
    ///
    /// # Panics
    /// If anything is wrong in the end.
    pub fn run_reaping(
        frames: u32,
        pace: Pace,
        prepare: impl for<'a> FnOnce(Machine<'a>) -> Vec<Body<'a>>,
    ) {
        Self::run_with(frames, pace, Daemons { reaps: true, flushes: false }, prepare);
    }

    /// The same with a flusher, for models with files. Every file must be gone in the end.
    ///
    /// # Panics
    /// If anything is wrong in the end.
    pub fn run_with_files(
        frames: u32,
        pace: Pace,
        prepare: impl for<'a> FnOnce(Machine<'a>) -> Vec<Body<'a>>,
    ) {
        Self::run_with(frames, pace, Daemons { reaps: false, flushes: true }, prepare);
    }

    fn run_with(
        frames: u32,
        pace: Pace,
        daemons: Daemons,
        prepare: impl for<'a> FnOnce(Machine<'a>) -> Vec<Body<'a>>,
    ) {
        own::forget_all();
        let frames = frames + OWN;
        let world = World::new(frames, Disk::new(pace));
        let range = FrameRange { start: Pfn(0), end: Pfn(frames) };
        let config = Config { min_free_kbytes: Some(16), poison: true, ..Config::default() };
        let ranges = [range];
        let plan = Plan::new(&ranges, config).expect("memory that can be managed");
        let layout = plan.storage_layout::<&World>();
        let mut storage = Box::new_uninit_slice(layout.size() + layout.align());
        let mut slots = Box::new_uninit_slice(Mm::<&World>::swap_words(BLOCKS));
        // The crate owns no heap, and what it borrows lives as long as itself.
        let mm = ManuallyDrop::new(Mm::new(&world, plan, &mut storage));
        let machine = Machine { mm: &mm, world: &world };
        machine.mm.free_bootmem(range);
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, BLOCKS);
        let usable = machine.mm.swapon(DeviceId(0), BLOCKS, &page, &mut slots, 0);
        assert_eq!(usable, Ok(BLOCKS - 1), "a new device has all but its header");
        let free = machine.free_without_programs();
        shuttle::thread::scope(|scope| {
            scope.spawn(move || daemon(TaskFlags::KSWAPD, || machine.mm.kswapd()));
            if daemons.reaps {
                scope.spawn(move || daemon(TaskFlags::empty(), || machine.mm.oom_reaper()));
            }
            if daemons.flushes {
                scope.spawn(move || daemon(TaskFlags::empty(), || machine.mm.flusher()));
            }
            if pace == Pace::Later {
                let disk = || world.serve_disk(&|end| machine.mm.complete(end));
                scope.spawn(move || daemon(TaskFlags::empty(), disk));
            }
            shuttle::thread::scope(|tasks| {
                for body in prepare(machine) {
                    tasks.spawn(move || body(machine));
                }
            });
            // The flusher may have the last reference to a file, and write it.
            machine.world.wait_for_evictions();
            // A page of the cache without a user may wait there for reclaim. At first some memory
            // is still on the lists of other CPUs.
            machine.mm.lru_add_drain_all();
            machine.press(frames as usize);
            machine.press(frames as usize);
            machine.wait_for_disk();
            machine.world.stop();
        });
        assert!(machine.mm.is_quiet(), "work is still in progress");
        assert_eq!(machine.mm.validate().map(drop), Ok(()), "the books are wrong");
        let map = machine.mm.memmap();
        let lost: Vec<_> = map.iter().filter(|(_, page)| page.refs() > 0).collect();
        assert_eq!(machine.free_without_programs(), free, "pages were lost: {lost:?}");
        let (all, left) = machine.mm.swap_pages();
        assert_eq!(all, left, "slots were lost");
    }

    /// Free frames while there is no program: all but the zero page's, which the first of all
    /// programs brings.
    fn free_without_programs(self) -> u32 {
        let id = self.mm.create_space().expect("memory for a space");
        self.mm.destroy_space(id).expect("made just now");
        self.trim();
        self.mm.total_free()
    }

    /// Frees the frames that the crate keeps for its next objects.
    pub fn trim(self) {
        self.mm.trim_tables();
    }

    /// A program: an address space with this many pages, none of them touched.
    pub fn program(self, pages: u32) -> Program<'m> {
        let program = self.bare_program();
        let rights = Prot::READ | Prot::WRITE;
        let place = Place::Fixed(FIRST);
        let area = self.mm.mmap(program.space, place, pages, rights, AreaFlags::empty());
        assert_eq!(area, Ok(FIRST));
        program
    }

    /// A program that maps nothing.
    pub fn bare_program(self) -> Program<'m> {
        loop {
            match self.mm.create_space() {
                Ok(space) => return Program { machine: self, space },
                Err(why) => self.out_of_memory(why),
            }
        }
    }

    /// The other tasks have all the memory at the moment: they run.
    pub(crate) fn out_of_memory(self, why: SpaceError) {
        assert_eq!(why, SpaceError::NoMemory);
        shuttle::thread::yield_now();
    }

    /// Takes the swap device out of use, if that can be done, and into use again. Its pages are
    /// read with the area locks of their programs held.
    pub fn swap_off_for_a_moment(self) {
        self.use_slots(BLOCKS - 1);
    }

    /// As [`Machine::swap_off_for_a_moment`], with this many slots from then on.
    pub fn use_slots(self, slots: u32) {
        if self.mm.swapoff(DeviceId(0)).is_ok() {
            assert!(!self.world.is_being_read(), "the device is off, and a read is under way");
            let mut page = [0; PAGE_SIZE];
            header::format(&mut page, slots + 1);
            let usable = self.mm.swapon_again(DeviceId(0), &page, 0);
            assert_eq!(usable, Ok(slots));
        }
    }

    /// The killer may kill `program`, and no other. The disk answers no request until the reaper
    /// has napped `naps` times.
    pub fn let_die(self, program: Program<'_>, naps: u32) {
        self.world.let_die(program.space, naps);
    }

    /// The calling task yields this many times in its next fault, between the entry and the device
    /// that the entry names.
    pub fn hold_up_at_device(self, pauses: u32) {
        own::hold_up_at_device(pauses);
    }

    /// The calling task is held up before one of the next page-table locks that it takes, by chance the
    /// next or one of the `others` after it.
    pub fn hold_up_at_tables(self, others: u32) {
        use shuttle::rand::Rng;
        own::hold_up_at_tables(shuttle::rand::thread_rng().gen_range(0..=others));
    }

    /// The reaper yields this many times before it next takes a page-table lock.
    pub fn hold_up_reaper(self, pauses: u32) {
        own::hold_up_reaper(pauses);
    }

    /// Takes frames until a program is killed, and frees them.
    pub fn take_until_kill(self) {
        let mut taken = Vec::new();
        while !self.world.was_killed() {
            taken.extend(self.mm.alloc_pages(Gfp::KERNEL, Order::ZERO));
        }
        self.give(taken);
    }

    /// Waits until a program was killed.
    pub fn wait_for_kill(self) {
        self.world.wait_for_kill();
    }

    /// Waits until the reaper has nothing to do.
    pub fn wait_for_reaper(self) {
        self.world.wait_for_reaper();
    }

    /// Waits until a transfer is under way.
    pub fn wait_for_request(self) {
        self.world.wait_for_request();
    }

    /// Waits until no transfer is under way.
    pub fn wait_for_disk(self) {
        self.world.wait_for_disk();
    }

    /// The next `reads` reads from the disk will fail.
    pub fn fail_reads(self, reads: u32) {
        self.world.fail_reads(reads);
    }

    /// Waits for something that other tasks are to bring about without being asked again.
    ///
    /// # Panics
    /// If it does not come about, however long they run.
    pub fn wait_for(self, mut happened: impl FnMut() -> bool) {
        for _ in 0..PATIENCE {
            if happened() {
                return;
            }
            shuttle::thread::yield_now();
        }
        panic!("what was waited for never happened");
    }

    /// Takes frames until an allocation has found memory below its LOW mark.
    pub fn take_until_low(self) -> Vec<Pfn> {
        let zone = self.mm.zone(ZoneId::Dma);
        let is_low = || zone.free() <= zone.mark(Mark::Low);
        let gfp = Gfp::NOWAIT;
        let mut taken = Vec::new();
        loop {
            // The allocation after the one that reached the mark is the first to find it so.
            let was_low = is_low();
            let Some(frame) = self.mm.alloc_pages(gfp, Order::ZERO) else { return taken };
            taken.push(frame);
            if was_low {
                return taken;
            }
        }
    }

    /// The pages that are marked as locked into memory.
    pub fn marked_as_locked(self) -> Vec<Pfn> {
        let marked = |page: &Page| page.has(PageFlags::MLOCKED);
        self.mm.memmap().iter().filter(|(_, page)| marked(page)).map(|(pfn, _)| pfn).collect()
    }

    /// Takes a frame for the kernel.
    pub fn take_one(self) -> Option<Pfn> {
        self.mm.alloc_pages(Gfp::NOWAIT, Order::ZERO)
    }

    /// Frees what [`Machine::take_until_low`] took.
    pub fn give(self, frames: Vec<Pfn>) {
        frames.into_iter().for_each(|frame| self.mm.free_pages(frame, Order::ZERO));
    }

    /// Takes up to `pages` frames for the kernel, reclaiming if necessary, and frees them.
    pub fn press(self, pages: usize) {
        let gfp = Gfp::KERNEL | Gfp::NORETRY;
        let taken: Vec<Pfn> =
            (0..pages).map_while(|_| self.mm.alloc_pages(gfp, Order::ZERO)).collect();
        self.give(taken);
    }
}

/// A task whose body never ends: it is stopped in a wait.
fn daemon(flags: TaskFlags, body: impl FnOnce()) {
    own::own().flags.set(Some(flags | TaskFlags::KERNEL));
    if let Err(cause) = catch_unwind(AssertUnwindSafe(body))
        && !cause.is::<Stopped>()
    {
        resume_unwind(cause);
    }
}
