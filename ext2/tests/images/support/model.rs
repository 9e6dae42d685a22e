//! The tree that must be there, and what each call on names must answer.

use std::collections::BTreeMap;

use ext2::{Error, Exchange};

use super::content::Content;

/// What is in the tree, whatever inode it has.
pub type Id = usize;

/// The root directory.
pub const ROOT: Id = 0;

/// What a node is.
#[derive(Clone, Debug)]
pub enum Body {
    File(Content),
    Dir { names: BTreeMap<Vec<u8>, Id>, parent: Id },
    Link(Vec<u8>),
}

/// Something with an inode.
#[derive(Clone, Debug)]
pub struct Node {
    pub body: Body,
    /// How many names lead to it, its own and those from below included.
    pub links: u32,
    pub mode: u16,
    pub owner: [u32; 2],
}

/// The tree.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: BTreeMap<Id, Node>,
    next: Id,
}

/// What a rename that succeeds does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renamed {
    /// Nothing: both names lead to one file.
    Same,
    /// The name is new.
    Moved,
    /// This one has lost a name.
    Replaced(Id),
    /// The two change places.
    Exchanged,
}

impl Model {
    /// A root without a name.
    pub fn new() -> Self {
        let mut model = Self { nodes: BTreeMap::new(), next: 0 };
        let body = Body::Dir { names: BTreeMap::new(), parent: ROOT };
        model.insert(Node { body, links: 2, mode: 0o755, owner: [0; 2] });
        model
    }

    fn insert(&mut self, node: Node) -> Id {
        self.next += 1;
        self.nodes.insert(self.next - 1, node);
        self.next - 1
    }

    /// A node without a name.
    pub fn unnamed(&mut self, body: Body, mode: u16) -> Id {
        self.insert(Node { body, links: 0, mode, owner: [0; 2] })
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[&id]
    }

    pub fn node_mut(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("it is in the tree")
    }

    pub fn content(&mut self, id: Id) -> &mut Content {
        match &mut self.node_mut(id).body {
            Body::File(content) => content,
            other => panic!("no file: {other:?}"),
        }
    }

    pub fn is_dir(&self, id: Id) -> bool {
        matches!(self.node(id).body, Body::Dir { .. })
    }

    pub fn is_file(&self, id: Id) -> bool {
        matches!(self.node(id).body, Body::File(_))
    }

    pub fn names(&self, dir: Id) -> Result<&BTreeMap<Vec<u8>, Id>, Error> {
        match &self.node(dir).body {
            Body::Dir { names, .. } => Ok(names),
            _ => Err(Error::NotDirectory),
        }
    }

    fn names_mut(&mut self, dir: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.node_mut(dir).body {
            Body::Dir { names, .. } => names,
            other => panic!("no directory: {other:?}"),
        }
    }

    pub fn parent(&self, dir: Id) -> Id {
        match &self.node(dir).body {
            Body::Dir { parent, .. } => *parent,
            other => panic!("no directory: {other:?}"),
        }
    }

    /// What a name leads to, `.` and `..` included.
    pub fn lookup(&self, dir: Id, name: &[u8]) -> Result<Id, Error> {
        let names = self.names(dir)?;
        match name {
            b"." => Ok(dir),
            b".." => Ok(self.parent(dir)),
            _ if name.len() > 255 => Err(Error::NameTooLong),
            _ => names.get(name).copied().ok_or(Error::NotFound),
        }
    }

    /// What a path leads to.
    pub fn resolve(&self, path: &[Vec<u8>]) -> Option<Id> {
        path.iter().try_fold(ROOT, |dir, name| self.lookup(dir, name).ok())
    }

    /// Every way to every name: its directory, its name, and what it leads to.
    pub fn all(&self) -> Vec<(Id, Vec<u8>, Id)> {
        let mut all = Vec::new();
        for (dir, node) in &self.nodes {
            if let Body::Dir { names, .. } = &node.body {
                all.extend(names.iter().map(|(name, id)| (*dir, name.clone(), *id)));
            }
        }
        all
    }

    fn is_below(&self, dir: Id, above: Id) -> bool {
        let mut at = dir;
        while at != ROOT && at != above {
            at = self.parent(at);
        }
        at == above
    }

    fn is_proper(name: &[u8]) -> Result<(), Error> {
        match name {
            [] => Err(Error::NotFound),
            _ if name.len() > 255 => Err(Error::NameTooLong),
            _ if name.contains(&b'/') || name.contains(&0) => Err(Error::Invalid),
            _ => Ok(()),
        }
    }

    /// Whether a name can be made.
    pub fn may_make(&self, dir: Id, name: &[u8]) -> Result<(), Error> {
        match self.lookup(dir, name) {
            Ok(_) => Err(Error::Exists),
            Err(Error::NotDirectory) => Err(Error::NotDirectory),
            Err(_) => Self::is_proper(name),
        }
    }

    pub fn may_link(&self, id: Id, dir: Id, name: &[u8]) -> Result<(), Error> {
        self.may_make(dir, name)?;
        if self.is_dir(id) { Err(Error::NotPermitted) } else { Ok(()) }
    }

    pub fn may_unlink(&self, dir: Id, name: &[u8]) -> Result<Id, Error> {
        let id = self.lookup(dir, name)?;
        if self.is_dir(id) { Err(Error::IsDirectory) } else { Ok(id) }
    }

    pub fn may_remove_dir(&self, dir: Id, name: &[u8]) -> Result<Id, Error> {
        match name {
            b"." => return Err(Error::Invalid),
            b".." => return Err(Error::NotEmpty),
            _ => {}
        }
        let id = self.lookup(dir, name)?;
        if self.names(id)?.is_empty() { Ok(id) } else { Err(Error::NotEmpty) }
    }

    /// What a rename does.
    pub fn may_rename(
        &self,
        (from, old): (Id, &[u8]),
        (to, new): (Id, &[u8]),
        exchange: Exchange,
    ) -> Result<Renamed, Error> {
        let id = self.lookup(from, old)?;
        self.names(to)?;
        let there = match self.lookup(to, new) {
            Err(Error::NotFound) => None,
            other => Some(other?),
        };
        let is_dot = |name: &[u8]| matches!(name, b"." | b"..");
        if is_dot(old) || is_dot(new) {
            return Err(Error::Invalid);
        }
        let Some(there) = there else {
            if exchange == Exchange::Both {
                return Err(Error::NotFound);
            }
            Self::is_proper(new)?;
            let is_own = self.is_dir(id) && self.is_below(to, id);
            return if is_own { Err(Error::Invalid) } else { Ok(Renamed::Moved) };
        };
        if exchange == Exchange::Never {
            return Err(Error::Exists);
        }
        if there == id {
            return Ok(Renamed::Same);
        }
        if self.is_dir(id) && self.is_below(to, id) {
            return Err(Error::Invalid);
        }
        if exchange == Exchange::Both {
            let is_own = self.is_dir(there) && self.is_below(from, there);
            return if is_own { Err(Error::Invalid) } else { Ok(Renamed::Exchanged) };
        }
        match (self.is_dir(id), self.is_dir(there)) {
            (true, false) => Err(Error::NotDirectory),
            (false, true) if from != to && self.is_below(from, there) => Err(Error::NotEmpty),
            (false, true) => Err(Error::IsDirectory),
            (true, true) if !self.names(there)?.is_empty() => Err(Error::NotEmpty),
            _ => Ok(Renamed::Replaced(there)),
        }
    }

    /// Makes a node with a name.
    pub fn make(&mut self, dir: Id, name: &[u8], body: Body, mode: u16) -> Id {
        let id = self.unnamed(body, mode);
        if self.is_dir(id) {
            self.node_mut(id).links = 1;
        }
        self.link(id, dir, name);
        id
    }

    /// Makes a directory.
    pub fn make_dir(&mut self, parent: Id, name: &[u8]) -> Id {
        self.make(parent, name, Body::Dir { names: BTreeMap::new(), parent }, 0o755)
    }

    /// Gives a node a name.
    pub fn link(&mut self, id: Id, dir: Id, name: &[u8]) {
        self.names_mut(dir).insert(name.to_vec(), id);
        self.node_mut(id).links += 1;
        if let Body::Dir { parent, .. } = &mut self.node_mut(id).body {
            *parent = dir;
            self.node_mut(dir).links += 1;
        }
    }

    /// Takes a name away from a node.
    pub fn unlink(&mut self, dir: Id, name: &[u8]) -> Id {
        let id = self.names_mut(dir).remove(name).expect("it is there");
        self.node_mut(id).links -= 1;
        if self.is_dir(id) {
            self.node_mut(dir).links -= 1;
        }
        id
    }

    /// Does what [`Model::may_rename`] has said.
    pub fn rename(&mut self, (from, old): (Id, &[u8]), (to, new): (Id, &[u8]), what: Renamed) {
        if what == Renamed::Same {
            return;
        }
        let id = self.unlink(from, old);
        match what {
            Renamed::Replaced(_) => drop(self.unlink(to, new)),
            Renamed::Exchanged => {
                let other = self.unlink(to, new);
                self.link(other, from, old);
            }
            _ => {}
        }
        self.link(id, to, new);
    }
}
