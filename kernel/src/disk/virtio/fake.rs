//! A disk in the memory of a test, which serves a ring as a device does, or abuses it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Error, Hal, PAGE_SIZE, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::engine::QUEUE;
use crate::disk::SECTOR;

/// Memory of the test; a device's address of it is the test's.
pub(super) struct TestHal;

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, PAGE_SIZE).unwrap()
}

// SAFETY: it is an allocator's memory, of zeroes, at its own address.
unsafe impl Hal for TestHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout(pages)) }).unwrap();
        (memory.addr().get() as PhysAddr, memory)
    }

    unsafe fn dma_dealloc(_paddr: PhysAddr, vaddr: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: the caller's: it is from `dma_alloc`.
        unsafe { dealloc(vaddr.as_ptr(), layout(pages)) };
        0
    }

    unsafe fn mmio_phys_to_virt(_paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("there is no PCI")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.addr().get() as PhysAddr
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// A device's side of the ring, and what it was told.
pub(super) struct State {
    pub disk: Vec<u8>,
    pub features: u64,
    pub status: DeviceStatus,
    /// Bits that the status never gets.
    pub refused: DeviceStatus,
    /// Bits that the status always has.
    pub forced: DeviceStatus,
    pub config: [u8; 64],
    /// Whether each read of the size changes it.
    pub restless: bool,
    pub most: u32,
    pub ring: [usize; 3],
    pub notified: usize,
    pub interrupt: InterruptStatus,
    /// Requests of the ring that were served.
    pub seen: u16,
    /// Kind, sector and bytes of each request that was served.
    pub log: Vec<(u32, u64, usize)>,
    /// The status that requests end with.
    pub answer: Option<u8>,
    /// A sector with which requests fail.
    pub bad: Option<u64>,
}

/// A transport to a device in memory.
#[derive(Clone)]
pub(super) struct Device(pub Rc<RefCell<State>>);

impl Device {
    /// A disk of so many sectors that offers flushes and the standard.
    pub fn new(sectors: usize) -> Self {
        let mut config = [0; 64];
        config[..8].copy_from_slice(&(sectors as u64).to_le_bytes());
        config[20..24].copy_from_slice(&512u32.to_le_bytes());
        Self(Rc::new(RefCell::new(State {
            disk: vec![0; sectors * SECTOR],
            features: 1 << 32 | 1 << 9 | 1 << 6,
            status: DeviceStatus::empty(),
            refused: DeviceStatus::empty(),
            forced: DeviceStatus::empty(),
            config,
            restless: false,
            most: 256,
            ring: [0; 3],
            notified: 0,
            interrupt: InterruptStatus::empty(),
            seen: 0,
            log: Vec::new(),
            answer: Some(0),
            bad: None,
        })))
    }
}

fn read<T: Copy>(address: usize) -> T {
    // SAFETY: the addresses are of the ring, or those that descriptors name.
    unsafe { (address as *const T).read_volatile() }
}

fn write<T>(address: usize, value: T) {
    // SAFETY: as above.
    unsafe { (address as *mut T).write_volatile(value) }
}

impl State {
    /// The first descriptor of the next request, if there is one.
    fn next_head(&mut self) -> Option<u16> {
        let available = self.ring[1];
        if read::<u16>(available + 2) == self.seen {
            return None;
        }
        let head = read::<u16>(available + 4 + 2 * (self.seen as usize % QUEUE));
        self.seen = self.seen.wrapping_add(1);
        Some(head)
    }

    /// Address, bytes and whether it is written, of each buffer of a request.
    fn buffers(&self, head: u16) -> Vec<(usize, usize, bool)> {
        let (mut list, mut at) = (Vec::new(), head);
        loop {
            let descriptor = self.ring[0] + 16 * at as usize;
            let (flags, next) = (read::<u16>(descriptor + 12), read::<u16>(descriptor + 14));
            let address = read::<u64>(descriptor) as usize;
            list.push((address, read::<u32>(descriptor + 8) as usize, flags & 2 != 0));
            assert!(list.len() <= QUEUE, "a descriptor is in its own chain");
            if flags & 1 == 0 {
                return list;
            }
            at = next;
        }
    }

    /// Takes the requests that were made, and does what they ask for; returns their first descriptors
    /// and the bytes that were written for each.
    pub fn take(&mut self) -> Vec<(u32, u32)> {
        let mut done = Vec::new();
        while let Some(head) = self.next_head() {
            let wrote = self.perform(head);
            done.push((u32::from(head), wrote));
        }
        done
    }

    fn perform(&mut self, head: u16) -> u32 {
        let buffers = self.buffers(head);
        let ((record, 16, false), Some(&(status, 1, true))) = (buffers[0], buffers.last()) else {
            panic!("no head, or no status: {buffers:?}");
        };
        let (kind, mut sector) = (read::<u32>(record), read::<u64>(record + 8));
        let (mut place, mut bytes, mut wrote) = (sector as usize * SECTOR, 0, 1);
        for &(address, len, is_written) in &buffers[1..buffers.len() - 1] {
            assert_eq!(is_written, kind == 0);
            if kind == 11 {
                let (first, sectors) = (read::<u64>(address), read::<u32>(address + 8));
                assert_eq!((len, read::<u32>(address + 12)), (16, 0));
                (sector, bytes) = (first, sectors as usize * SECTOR);
                self.disk[first as usize * SECTOR..][..bytes].fill(0);
                break;
            }
            let stretch = &mut self.disk[place..place + len];
            // SAFETY: the test has lent the memory.
            let memory = unsafe { core::slice::from_raw_parts_mut(address as *mut u8, len) };
            match kind {
                0 => memory.copy_from_slice(stretch),
                _ => stretch.copy_from_slice(memory),
            }
            wrote += if kind == 0 { len as u32 } else { 0 };
            (place, bytes) = (place + len, bytes + len);
        }
        let stretch = sector..sector + (bytes / SECTOR) as u64;
        let is_bad = self.bad.is_some_and(|bad| stretch.contains(&bad));
        if let Some(answer) = if is_bad { Some(1) } else { self.answer } {
            write(status, answer);
        }
        self.log.push((kind, sector, bytes));
        wrote
    }

    /// Says that a request has ended.
    pub fn say_used(&mut self, id: u32, len: u32) {
        let used = self.ring[2];
        let index = read::<u16>(used + 2);
        let place = used + 4 + 8 * (index as usize % QUEUE);
        write(place, id);
        write(place + 4, len);
        self.say_index(index.wrapping_add(1));
    }

    /// Says how many requests have ended.
    pub fn say_index(&mut self, index: u16) {
        write(self.ring[2] + 2, index);
    }

    /// How many requests it has said that have ended.
    pub fn index(&self) -> u16 {
        read(self.ring[2] + 2)
    }

    /// Serves all that was asked for.
    pub fn serve(&mut self) {
        for (id, len) in self.take() {
            self.say_used(id, len);
        }
    }
}

impl Transport for Device {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.borrow().features
    }

    fn write_driver_features(&mut self, features: u64) {
        assert_eq!(features & !self.0.borrow().features, 0, "features that were not offered");
    }

    fn max_queue_size(&mut self, _queue: u16) -> u32 {
        self.0.borrow().most
    }

    fn notify(&mut self, _queue: u16) {
        self.0.borrow_mut().notified += 1;
    }

    fn get_status(&self) -> DeviceStatus {
        self.0.borrow().status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.borrow_mut();
        state.status = (status - state.refused) | state.forced;
    }

    fn set_guest_page_size(&mut self, _size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        _queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        assert_eq!(size as usize, QUEUE);
        self.0.borrow_mut().ring = [descriptors, driver, device].map(|address| address as usize);
    }

    fn queue_unset(&mut self, _queue: u16) {}

    fn queue_used(&mut self, _queue: u16) -> bool {
        self.0.borrow().ring[0] == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        core::mem::replace(&mut self.0.borrow_mut().interrupt, InterruptStatus::empty())
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let mut state = self.0.borrow_mut();
        if state.restless && offset < 8 {
            state.config[offset] = state.config[offset].wrapping_add(1);
        }
        let bytes = state.config.get(offset..offset + size_of::<T>());
        let bytes = bytes.ok_or(Error::ConfigSpaceTooSmall)?;
        T::read_from_bytes(bytes).map_err(|_| Error::ConfigSpaceTooSmall)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _offset: usize,
        _value: T,
    ) -> Result<(), Error> {
        Ok(())
    }
}
