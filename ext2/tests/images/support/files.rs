//! Contents of files above the crate, as a kernel reads and writes them.

use ext2::{Error, Ext2, Fresh, InodeAt, Writer};

use super::content::Content;
use super::disk::Cache;

/// A file system on the test's device.
pub type Fs<'a> = Ext2<&'a Cache>;

/// Writes; returns how many bytes were written before the error, if there was one.
pub fn write(
    fs: &Fs<'_>,
    writer: &mut Writer,
    at: InodeAt,
    offset: u64,
    bytes: &[u8],
) -> (usize, Option<Error>) {
    let block_bytes = fs.geometry().block_bytes();
    let (mut done, mut error) = (0, None);
    while done < bytes.len() {
        let place = offset + done as u64;
        let within = place as usize % block_bytes;
        let most = (within + bytes.len() - done).div_ceil(block_bytes) as u32;
        let index = u32::try_from(place >> fs.geometry().block_bits).unwrap_or(u32::MAX);
        let (first, count, is_new) = match fs.reserve_run(writer, at, index, most) {
            Ok((Fresh::Old(block), count)) => (block, count, false),
            Ok((Fresh::New(block), count)) => (block, count, true),
            Err(why) => {
                error = Some(why);
                break;
            }
        };
        assert!((1..=most).contains(&count), "{count} of {most}");
        for block in first..first + count {
            let within = (offset as usize + done) % block_bytes;
            let len = (block_bytes - within).min(bytes.len() - done);
            // What is in a new one belonged to another file.
            let mut contents = match is_new {
                true => vec![0; block_bytes],
                false => fs.disk().read(block),
            };
            contents[within..within + len].copy_from_slice(&bytes[done..done + len]);
            fs.disk().write(block, &contents);
            done += len;
        }
    }
    let size = fs.load(at).expect("it is there").size;
    if done > 0 {
        let size = size.max(offset + done as u64);
        fs.set_size(writer, at, size).expect("it may be written");
    }
    (done, error)
}

/// Makes a file shorter or longer.
pub fn truncate(fs: &Fs<'_>, writer: &mut Writer, at: InodeAt, size: u64) -> Result<(), Error> {
    let old = fs.load(at)?.size;
    if size < old {
        let block_bytes = fs.geometry().block_bytes() as u64;
        let kept = u32::try_from(size.div_ceil(block_bytes)).map_err(|_| Error::TooLarge)?;
        fs.cut(writer, at, kept..u32::MAX)?;
        let within = (size % block_bytes) as usize;
        if within > 0
            && let Some(block) = fs.map(at, kept - 1, 1)?.block
        {
            let mut contents = fs.disk().read(block);
            contents[within..].fill(0);
            fs.disk().write(block, &contents);
        }
    }
    fs.set_size(writer, at, size)
}

/// The end of a file that nobody uses.
pub fn end(fs: &Fs<'_>, writer: &mut Writer, at: InodeAt) -> Result<(), Error> {
    while !fs.end_step(writer, at)? {}
    Ok(())
}

/// Blocks with contents of a file.
pub fn blocks(fs: &Fs<'_>, at: InodeAt) -> Vec<u32> {
    let mut blocks = Vec::new();
    each_run(fs, at, |_, first, len| blocks.extend(first.into_iter().flat_map(|n| n..n + len)));
    blocks
}

/// Visits the runs of a file up to its size: their first index, their first block, and their length.
fn each_run(fs: &Fs<'_>, at: InodeAt, mut visit: impl FnMut(u32, Option<u32>, u32)) {
    let size = fs.load(at).expect("it is there").size;
    let end = size.div_ceil(fs.geometry().block_bytes() as u64);
    let end = u32::try_from(end).expect("no file is larger");
    let mut from = 0;
    while from < end {
        let mapped = fs.map(at, from, end - from).expect("each block can be found");
        assert!(mapped.len >= 1 && mapped.len <= end - from, "as much as was asked for");
        let half = mapped.len / 2;
        let rest = fs.map(at, from + half, end - from - half).expect("each block can be found");
        assert_eq!(rest.block, mapped.block.map(|first| first + half), "in the middle of a run");
        assert!(rest.len >= mapped.len - half, "in the middle of a run");
        let last = fs.map(at, from + half + rest.len - 1, 1).expect("each block can be found");
        let end = rest.block.map(|first| first + rest.len - 1);
        assert_eq!(last.block, end, "at the end of a run");
        visit(from, mapped.block, mapped.len);
        from += mapped.len;
    }
}

/// What is wrong with the first bytes of a file, up to the size of `content`.
pub fn difference(fs: &Fs<'_>, at: InodeAt, content: &Content) -> Option<String> {
    let block_bytes = fs.geometry().block_bytes() as u64;
    let mut wrong = None;
    each_run(fs, at, |from, first, len| {
        let start = u64::from(from) * block_bytes;
        let Some(first) = first else {
            let end = (start + u64::from(len) * block_bytes).min(content.size);
            if start < end && !content.is_zero(start, end) {
                wrong.get_or_insert(format!("a hole from {start} to {end}"));
            }
            return;
        };
        for step in 0..len {
            let start = start + u64::from(step) * block_bytes;
            let want = content.read(start, block_bytes as usize);
            if fs.disk().read(first + step)[..want.len()] != want {
                wrong.get_or_insert(format!("other contents at {start}, block {}", first + step));
            }
        }
    });
    wrong
}
