//! Damage: fields that a check may have forgotten get values that break it.

use super::target::Target;
use crate::support::disk::Cache;
use crate::support::random::Rng;

/// A value for a field that was `old`, in the block `here`.
fn nasty(rng: &mut Rng, target: &Target, here: u32, old: u32) -> u32 {
    let geometry = &target.geometry;
    let group = rng.pick(&target.groups);
    match rng.below(18) {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => u32::MAX - rng.below(3) as u32,
        4 => 0x7fff_ffff + rng.below(2) as u32,
        5 => geometry.blocks + rng.below(3) as u32 - 1,
        6 => here,
        7 => *rng.pick(&[group.block_bitmap, group.inode_bitmap, group.inode_table]),
        8 => geometry.superblock().0 + rng.below(2) as u32,
        9 if !target.pointers.is_empty() => *rng.pick(&target.pointers),
        10 => *rng.pick(&target.names),
        11 => old.wrapping_add(1),
        12 => old.wrapping_sub(1),
        13 => old ^ 1 << rng.below(32),
        14 => rng.below(geometry.inodes.into()) as u32 + 1,
        15 => 1 << rng.below(32),
        16 => rng.below(geometry.blocks.into()) as u32,
        _ => rng.next() as u32,
    }
}

/// Gives a field of two or four bytes another value.
fn put(cache: &Cache, target: &Target, rng: &mut Rng, block: u32, at: usize, bytes: usize) {
    cache.damage(block, |contents| {
        let Some(field) = contents.get_mut(at..at + bytes) else { return };
        let mut old = [0; 4];
        old[..bytes].copy_from_slice(field);
        let new = nasty(rng, target, block, u32::from_le_bytes(old)).to_le_bytes();
        field.copy_from_slice(&new[..bytes]);
    });
}

/// Damages something.
pub fn harm(cache: &Cache, target: &Target, rng: &mut Rng) {
    match rng.below(20) {
        0 => superblock(cache, target, rng),
        1 => descriptor(cache, target, rng),
        2 | 3 => bitmap(cache, target, rng),
        4..10 => inode(cache, target, rng),
        10..14 => pointers(cache, target, rng),
        14..19 => entry(cache, target, rng),
        _ => anything(cache, target, rng),
    }
}

fn superblock(cache: &Cache, target: &Target, rng: &mut Rng) {
    const LONG: [usize; 15] = [0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 76, 84, 92, 96, 100];
    const SHORT: [usize; 4] = [52, 56, 58, 88];
    let (block, start) = target.geometry.superblock();
    match rng.below(4) {
        0 => put(cache, target, rng, block, start + rng.clone().pick(&SHORT), 2),
        _ => put(cache, target, rng, block, start + rng.clone().pick(&LONG), 4),
    }
}

fn descriptor(cache: &Cache, target: &Target, rng: &mut Rng) {
    let group = rng.index(target.groups.len());
    let bytes = 32 * group;
    let block = target.geometry.superblock().0 + 1 + (bytes >> target.geometry.block_bits) as u32;
    let start = bytes % target.geometry.block_bytes();
    match rng.below(2) {
        0 => put(cache, target, rng, block, start + rng.clone().pick(&[0, 4, 8]), 4),
        _ => put(cache, target, rng, block, start + rng.clone().pick(&[12, 14, 16]), 2),
    }
}

fn bitmap(cache: &Cache, target: &Target, rng: &mut Rng) {
    let group = *rng.pick(&target.groups);
    let block = *rng.pick(&[group.block_bitmap, group.inode_bitmap]);
    cache.damage(block, |bytes| match rng.below(4) {
        0 => bytes.fill(0),
        1 => bytes.fill(0xff),
        _ => {
            for _ in 0..1 + rng.below(16) {
                bytes[rng.clone().index(64)] ^= 1 << rng.below(8);
            }
        }
    });
}

fn inode(cache: &Cache, target: &Target, rng: &mut Rng) {
    let (block, start) = *rng.pick(&target.inodes);
    match rng.below(10) {
        0 => put(cache, target, rng, block, start, 2),
        1 => put(cache, target, rng, block, start + 26, 2),
        2 | 3 => put(cache, target, rng, block, start + 4, 4),
        4 => put(cache, target, rng, block, start + rng.clone().pick(&[28, 32, 104, 108]), 4),
        5 => {
            // The kind alone.
            let kind = rng.below(16) as u8;
            cache.damage(block, |bytes| bytes[start + 1] = bytes[start + 1] & 15 | kind << 4);
        }
        _ => put(cache, target, rng, block, start + 40 + 4 * rng.clone().index(15), 4),
    }
}

fn pointers(cache: &Cache, target: &Target, rng: &mut Rng) {
    if target.pointers.is_empty() {
        return;
    }
    let block = *rng.pick(&target.pointers);
    let count = target.geometry.pointers();
    match rng.below(4) {
        0 => {
            let value = nasty(rng, target, block, 0).to_le_bytes();
            let step = 1 + rng.index(7);
            cache.damage(block, |bytes| {
                bytes.chunks_mut(4).step_by(step).for_each(|four| four.copy_from_slice(&value));
            });
        }
        1 => put(cache, target, rng, block, 0, 4),
        _ => {
            let at = 4 * rng.below(count.into()) as usize;
            put(cache, target, rng, block, at, 4);
        }
    }
}

fn entry(cache: &Cache, target: &Target, rng: &mut Rng) {
    let block = *rng.pick(&target.names);
    let start = (block as usize) << target.geometry.block_bits;
    let bytes = &target.image[start..start + target.geometry.block_bytes()];
    let (mut places, mut at) = (Vec::new(), 0);
    while at + 8 <= bytes.len() {
        places.push(at);
        at += usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]])).max(8);
    }
    let at = *rng.pick(&places);
    match rng.below(8) {
        0..3 => put(cache, target, rng, block, at, 4),
        3 => put(cache, target, rng, block, at + 4, 2),
        4 => {
            let len = 4 * rng.below(300) as u16;
            cache.damage(block, |bytes| bytes[at + 4..at + 6].copy_from_slice(&len.to_le_bytes()));
        }
        5 => put(cache, target, rng, block, at + 6, 2),
        6 => {
            let name = rng.clone().pick(&[&b"."[..], b"..", b"/", b"\0"]).to_vec();
            cache.damage(block, |bytes| {
                bytes[at + 6] = name.len() as u8;
                bytes[at + 8..at + 8 + name.len()].copy_from_slice(&name);
            });
        }
        _ => cache.damage(block, |bytes| bytes[at + 6] = rng.next() as u8),
    }
}

fn anything(cache: &Cache, target: &Target, rng: &mut Rng) {
    let block = rng.below(target.geometry.blocks.into()) as u32;
    cache.damage(block, |bytes| {
        for _ in 0..1 + rng.below(40) {
            let at = rng.index(bytes.len());
            bytes[at] = rng.next() as u8;
        }
    });
}
