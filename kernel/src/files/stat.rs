//! What is known of files: by their paths, and by what is open.

use ext2::layout::inode::{Inode, Kind, time};
use mm_reclaim::file::FileKind;
use mm_reclaim::units::PAGE_SIZE;

use super::path::{Bytes, End, Last, Start, walk};
use super::tree::inode_of;
use super::{File, OpenError, names, put};
use crate::mount::{self, Mounted, mounted};

/// What is known of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The device.
    pub device: u64,
    /// The number.
    pub number: u64,
    /// Kind and permissions.
    pub mode: u32,
    /// Names.
    pub links: u32,
    /// Owner and group.
    pub owner: [u32; 2],
    /// Bytes.
    pub size: u64,
    /// Bytes that are best transferred at once.
    pub block_bytes: u32,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Seconds: access, modification, change.
    pub times: [u64; 3],
}

/// What is known of what is at a path.
///
/// # Errors
/// [`OpenError`].
pub fn stat(start: Start, path: &mut Bytes, follow: bool) -> Result<Stat, OpenError> {
    let mounted = mounted();
    let writer = mounted.map(Mounted::lock);
    let last = if follow { Last::Follow } else { Last::Stay };
    match (walk(mounted.map(Mounted::fs), start, path, last)?, mounted) {
        (End::Inode(number, _), Some(mounted)) => {
            let (_, inode) = mounted.check(mounted.fs().inode(number))?;
            let size = mount::live_size(number).filter(|_| inode.kind() == Some(Kind::File));
            Ok(of_inode(mounted, number, &inode, size.unwrap_or(inode.size)))
        }
        (End::Flat(name), _) => {
            drop(writer);
            let file = names::open(&path.get()[name], false, false)?;
            let stat = stat_file(&file);
            put(file);
            stat
        }
        _ => Err(OpenError::NotFound),
    }
}

/// What is known of an open file.
///
/// # Errors
/// If its inode could not be read.
pub fn stat_file(file: &File) -> Result<Stat, OpenError> {
    const REGULAR: u32 = 0o100_666;
    if let (Some(number), Some(mounted)) = (inode_of(file), mounted()) {
        let inode = mounted.fs().load(mounted.fs().locate(number)?)?;
        let is_file = inode.kind() == Some(Kind::File);
        let size = if is_file { file.size() } else { inode.size };
        return Ok(of_inode(mounted, number, &inode, size));
    }
    let size = file.size();
    Ok(Stat {
        device: u64::from(matches!(file.kind(), FileKind::Stored(_))),
        number: u64::from(file.id().0),
        mode: REGULAR,
        links: 1,
        size,
        block_bytes: PAGE_SIZE as u32,
        sectors: size.div_ceil(512),
        ..Stat::default()
    })
}

fn of_inode(mounted: &Mounted, number: u32, inode: &Inode, size: u64) -> Stat {
    /// After the devices of memory and of the RAM disk.
    const DEVICE: u64 = 2;
    Stat {
        device: DEVICE,
        number: number.into(),
        mode: inode.mode.into(),
        links: inode.links.into(),
        owner: inode.owner,
        size,
        block_bytes: mounted.fs().geometry().block_bytes() as u32,
        sectors: inode.sectors.into(),
        times: [time::ACCESS, time::MODIFY, time::CHANGE].map(|at| inode.times[at].into()),
    }
}

/// How much room the file system has.
pub fn space() -> Option<ext2::Space> {
    let mounted = mounted()?;
    let writer = mounted.lock();
    Some(mounted.fs().space(&writer))
}

/// A file was written now: its inode learns of that once in a second, of which `touched` was the last.
/// Returns this one.
#[doc(alias = "file_update_time")]
pub fn note_written(file: &File, touched: u32) -> u32 {
    let (Some(number), Some(mounted)) = (inode_of(file), mounted()) else { return touched };
    let now = mounted.now();
    if now != touched {
        // A file that cannot be told of is one that cannot be written either.
        _ = mounted.check(mounted.touch(number));
    }
    now
}
