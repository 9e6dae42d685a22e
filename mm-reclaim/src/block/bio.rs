//! Requests to a block device, and their completions.
//!
//! A [`Bio`] is the only proof that a transfer is under way: for a write it is what will
//! end the page's write-back, for a read it holds the page lock. It cannot be copied or
//! dropped, only completed, and only a [`Completion`] can be handed back to `Mm::complete`.
//! One made by [`Bio::for_test`] proves nothing, and its completion is refused there.
//!
//! A request names a device and a block, but not their use. Its completion goes to the owner of the
//! page, which the page names: a page does not leave its cache during a transfer.

use core::mem;

use crate::base::units::Pfn;

/// A block device, as numbered by the environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceId(pub u8);

/// The direction of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the device into the frame.
    Read,
    /// From the frame to the device.
    Write,
}

/// The transfer failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError;

/// A transfer of one page.
#[must_use = "a request must be completed"]
#[derive(Debug)]
pub struct Bio {
    direction: Direction,
    device: DeviceId,
    block: u32,
    frame: Pfn,
    /// The page carries private data from the end of the transfer on.
    private: bool,
    for_test: bool,
}

/// A transfer of one page of a file, whose place on a device its store knows.
#[must_use = "a request must be completed"]
#[derive(Debug)]
pub struct PageIo {
    index: u32,
    bio: Bio,
}

impl PageIo {
    pub(crate) fn new(direction: Direction, index: u32, frame: Pfn) -> Self {
        Self { index, bio: Bio::new(direction, DeviceId(u8::MAX), 0, frame) }
    }

    /// The direction of the transfer.
    pub fn direction(&self) -> Direction {
        self.bio.direction
    }

    /// Which page of the file it is.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The frame.
    pub fn frame(&self) -> Pfn {
        self.bio.frame
    }

    /// The request to the block of a device where the page lies.
    pub fn on(self, device: DeviceId, block: u32) -> Bio {
        let mut bio = self.bio;
        (bio.device, bio.block) = (device, block);
        bio
    }

    /// The page carries private data of the store from the end of this read on, if it succeeds: it is
    /// not evicted before the store has released that ([`FileStore::release_private`]). Of a write it
    /// has no effect: another task may be changing the page.
    ///
    /// [`FileStore::release_private`]: crate::env::FileStore::release_private
    #[doc(alias = "folio_attach_private")]
    pub fn mark_private(&mut self) {
        self.bio.private = true;
    }

    /// Ends the transfer, which the store has done by itself.
    pub fn complete(self, result: Result<(), IoError>) -> Completion {
        self.bio.complete(result)
    }
}

/// The end of a transfer.
#[must_use = "a completion must be handed to Mm::complete"]
#[derive(Debug)]
pub struct Completion {
    pub(crate) direction: Direction,
    pub(crate) frame: Pfn,
    pub(crate) result: Result<(), IoError>,
    pub(crate) private: bool,
    for_test: bool,
}

impl Bio {
    pub(crate) fn new(direction: Direction, device: DeviceId, block: u32, frame: Pfn) -> Self {
        Self { direction, device, block, frame, private: false, for_test: false }
    }

    /// A request without an owner, to test a driver before there is any page to write. The frame
    /// belongs to the test. It is submitted and completed like any other; the test checks
    /// [`Completion::result`].
    ///
    /// ```
    /// use mm_reclaim::block::{Bio, Completion, DeviceId, Direction, IoError};
    /// use mm_reclaim::units::Pfn;
    ///
    /// /// A disk of four blocks that writes nothing.
    /// fn submit(bio: Bio) -> Option<Completion> {
    ///     let fails = bio.block() >= 4 || bio.direction() == Direction::Write;
    ///     Some(bio.complete(if fails { Err(IoError) } else { Ok(()) }))
    /// }
    ///
    /// let ends = |direction, block| {
    ///     let bio = Bio::for_test(direction, DeviceId(0), block, Pfn(7));
    ///     submit(bio).expect("a synchronous disk").result()
    /// };
    /// assert_eq!(ends(Direction::Read, 3), Ok(()));
    /// assert_eq!(ends(Direction::Read, 4), Err(IoError));
    /// assert_eq!(ends(Direction::Write, 3), Err(IoError));
    /// ```
    pub fn for_test(direction: Direction, device: DeviceId, block: u32, frame: Pfn) -> Self {
        Self { direction, device, block, frame, private: false, for_test: true }
    }

    /// The direction of the transfer.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The block of the device, counted in pages.
    pub fn block(&self) -> u32 {
        self.block
    }

    /// The frame.
    pub fn frame(&self) -> Pfn {
        self.frame
    }

    /// Ends the transfer.
    pub fn complete(self, result: Result<(), IoError>) -> Completion {
        let Self { direction, frame, private, for_test, .. } = self;
        mem::forget(self);
        Completion { direction, frame, result, private, for_test }
    }
}

impl Completion {
    /// Whether the transfer succeeded.
    ///
    /// # Errors
    /// It failed.
    pub fn result(&self) -> Result<(), IoError> {
        self.result
    }

    /// Whether a page waits for this.
    pub(crate) fn is_real(&self) -> bool {
        !self.for_test
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        let Self { direction, device, block, .. } = self;
        panic!(
            "a block request was dropped: {direction:?} of block {block} of device {}",
            device.0
        );
    }
}
