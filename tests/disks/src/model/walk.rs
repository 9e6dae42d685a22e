//! Paths, as in Linux's `fs/namei.c`: each name is looked up when it is its turn, and a symbolic link in
//! the middle is resolved before the walk goes on.

use super::errno::{ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR};
use super::{Errno, Model, Node, Number, OUTER};

/// Symbolic links on one walk, at most.
const MOST_LINKS: u32 = 40;
/// The most bytes of a name.
const MOST_NAME: usize = 255;

/// The last name of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Last {
    Name(Vec<u8>),
    Dot,
    DotDot,
}

/// Where a path ends: a directory, and a name that was not looked up.
#[derive(Clone, Debug)]
pub struct End {
    pub dir: Number,
    pub last: Last,
    pub slash: bool,
}

/// What a walk has met so far.
#[derive(Default)]
pub struct Links(u32);

impl Links {
    pub fn follow(&mut self) -> Result<(), Errno> {
        self.0 += 1;
        if self.0 > MOST_LINKS { Err(ELOOP) } else { Ok(()) }
    }
}

impl Model {
    /// What a directory has of that name.
    pub fn find(&self, dir: Number, name: &[u8]) -> Result<Option<Number>, Errno> {
        if name.len() > MOST_NAME {
            return Err(ENAMETOOLONG);
        }
        Ok(self.names(dir).get(name).copied())
    }

    /// Walks up to the last name.
    pub fn walk(&self, from: Number, path: &[u8], links: &mut Links) -> Result<End, Errno> {
        if path.is_empty() {
            return Err(ENOENT);
        }
        let mut dir = if path[0] == b'/' { OUTER } else { from };
        let slash = path.ends_with(b"/");
        let names: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|n| !n.is_empty()).collect();
        let Some((last, way)) = names.split_last() else {
            return Ok(End { dir, last: Last::Dot, slash });
        };
        for name in way {
            dir = self.step(dir, name, links)?;
        }
        let last = match *last {
            b"." => Last::Dot,
            b".." => Last::DotDot,
            name => Last::Name(name.to_vec()),
        };
        Ok(End { dir, last, slash })
    }

    /// Through a name in the middle.
    fn step(&self, dir: Number, name: &[u8], links: &mut Links) -> Result<Number, Errno> {
        match name {
            b"." => return Ok(dir),
            b".." => return Ok(self.above(dir)),
            _ => {}
        }
        let number = self.find(dir, name)?.ok_or(ENOENT)?;
        let number = match &self.inode(number).node {
            Node::Link(target) => {
                links.follow()?;
                self.resolve(dir, target, true, links)?
            }
            _ => number,
        };
        if self.is_dir(number) { Ok(number) } else { Err(ENOTDIR) }
    }

    /// What is at a path; a symbolic link at its end is followed, or not.
    pub fn resolve(
        &self,
        from: Number,
        path: &[u8],
        follow: bool,
        links: &mut Links,
    ) -> Result<Number, Errno> {
        let End { dir, last, slash } = self.walk(from, path, links)?;
        let name = match last {
            Last::Dot => return Ok(dir),
            Last::DotDot => return Ok(self.above(dir)),
            Last::Name(name) => name,
        };
        let mut number = self.find(dir, &name)?.ok_or(ENOENT)?;
        if let Node::Link(target) = &self.inode(number).node
            && (follow || slash)
        {
            links.follow()?;
            number = self.resolve(dir, target, true, links)?;
        }
        if slash && !self.is_dir(number) { Err(ENOTDIR) } else { Ok(number) }
    }

    /// The same, from the root.
    ///
    /// # Errors
    /// Linux's.
    pub fn lookup(&self, path: &[u8], follow: bool) -> Result<Number, Errno> {
        self.resolve(OUTER, path, follow, &mut Links::default())
    }

    /// The last name of a path, from the root.
    pub fn parent(&self, path: &[u8]) -> Result<End, Errno> {
        self.walk(OUTER, path, &mut Links::default())
    }
}
