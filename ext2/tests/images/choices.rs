//! Random calls on a session.

use ext2::Exchange;

use crate::support::model::{Id, ROOT};
use crate::support::plant::{bad_name, name, target};
use crate::support::random::Rng;
use crate::support::session::Session;

/// What calls are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Menu {
    /// The most bytes that are written at once.
    pub write_bytes: u64,
    /// Offsets and sizes that are far away.
    pub is_sparse: bool,
    /// Names and places that are refused.
    pub is_rude: bool,
}

/// A directory; now and then something that is none, or has no name any more.
fn directory(session: &Session<'_>, rng: &mut Rng, menu: &Menu) -> Id {
    let is_rude = menu.is_rude && rng.percent(3);
    let all = session.model.nodes.keys().copied();
    let dirs: Vec<Id> = all.filter(|id| is_rude || session.model.is_dir(*id)).collect();
    let id = *rng.pick(&dirs);
    if session.open.contains(&id) { ROOT } else { id }
}

/// A file, with a name or open.
fn file(session: &Session<'_>, rng: &mut Rng) -> Option<Id> {
    let all = session.model.nodes.keys().copied();
    let files: Vec<Id> = all.filter(|id| session.model.is_file(*id)).collect();
    (!files.is_empty()).then(|| *rng.pick(&files))
}

/// A name that is there, but not that of `lost+found`, without which `e2fsck` complains; or another.
fn place(session: &Session<'_>, rng: &mut Rng, menu: &Menu) -> (Id, Vec<u8>) {
    let all = session.model.all();
    let (dir, name, _) = rng.pick(&all).clone();
    if rng.percent(6) || name == b"lost+found" {
        return (directory(session, rng, menu), new_name(rng, menu));
    }
    (dir, name)
}

fn new_name(rng: &mut Rng, menu: &Menu) -> Vec<u8> {
    if menu.is_rude && rng.percent(4) { bad_name(rng) } else { name(rng) }
}

/// Makes a call.
pub fn step(session: &mut Session<'_>, rng: &mut Rng, menu: &Menu) {
    let dir = directory(session, rng, menu);
    let name = new_name(rng, menu);
    match rng.below(100) {
        0..14 => session.make(dir, &name, 0o400 | rng.below(0o1000) as u16),
        14..22 => session.make_dir(dir, &name),
        22..28 => {
            let mut target = target(rng, session.fs.geometry().block_bytes());
            match rng.below(if menu.is_rude { 40 } else { u64::MAX }) {
                0 => target.clear(),
                1 => target.resize(session.fs.geometry().block_bytes(), b'x'),
                _ => {}
            }
            session.make_symlink(dir, &name, &target);
        }
        28..30 => session.make_unnamed(dir),
        30..36 => link(session, rng, dir, &name, menu),
        36..46 => {
            let (dir, name) = place(session, rng, menu);
            session.unlink(dir, &name, rng.percent(20));
        }
        46..51 => {
            let (dir, name) = place(session, rng, menu);
            session.remove_dir(dir, &name);
        }
        51..65 => rename(session, rng, dir, &name, menu),
        65..68 => {
            if let Some(id) = session.open.pop() {
                session.end(id);
            }
        }
        68 => session.fs.sync(&session.writer).expect("it can be written"),
        _ => change_file(session, rng, menu),
    }
}

fn link(session: &mut Session<'_>, rng: &mut Rng, dir: Id, name: &[u8], menu: &Menu) {
    let id = match session.open.last() {
        Some(id) => *id,
        None if menu.is_rude && rng.percent(10) => directory(session, rng, menu),
        None => match file(session, rng) {
            Some(id) => id,
            None => return,
        },
    };
    session.link(id, dir, name);
}

fn rename(session: &mut Session<'_>, rng: &mut Rng, dir: Id, name: &[u8], menu: &Menu) {
    let (from, old) = place(session, rng, menu);
    let (to, new) = match rng.below(3) {
        0 => place(session, rng, menu),
        1 => (from, name.to_vec()),
        _ => (dir, name.to_vec()),
    };
    let exchange =
        *rng.pick(&[Exchange::Replace, Exchange::Replace, Exchange::Never, Exchange::Both]);
    session.rename((from, &old), (to, &new), exchange);
}

fn change_file(session: &mut Session<'_>, rng: &mut Rng, menu: &Menu) {
    let Some(id) = file(session, rng) else { return };
    let size = session.model.content(id).size;
    let far = 1 << (10 + rng.below(if menu.is_sparse { 23 } else { 9 }));
    match rng.below(20) {
        0..6 => {
            let bytes = rng.bytes(rng.clone().below(menu.write_bytes) as usize + 1, 4096);
            session.write(id, size, &bytes);
        }
        6..12 => {
            let bytes = rng.bytes(rng.clone().below(menu.write_bytes) as usize + 1, 4096);
            let offset = rng.below(if rng.clone().percent(10) { far } else { size + 5000 });
            session.write(id, offset, &bytes);
        }
        12 => session.truncate(id, 0),
        13 | 14 => session.truncate(id, rng.below(size + 1)),
        15 => session.truncate(id, size + rng.below(far)),
        16..19 => {
            let block = session.fs.geometry().block_bytes() as u64;
            let end = (size.div_ceil(block) + 2).min(u64::from(u32::MAX)) as u32;
            let from = rng.below(end.into()) as u32;
            let len = match rng.below(3) {
                0 => 1,
                1 => rng.below(40) as u32,
                _ => end - from,
            };
            session.punch(id, from..from + len);
        }
        _ => {
            let owner = [rng.below(1 << 20) as u32, rng.below(1 << 20) as u32];
            session.set_attributes(id, rng.below(0o10000) as u16, owner);
        }
    }
}
