//! What a walk through the tree finds.

use treeops::hash::{Hash, entry_hash, name_hash, path_hash, stat_hash};
use treeops::record::Record;

use super::{Model, Node, Number, ROOT};

impl Model {
    /// The hash of what an inode says of itself.
    pub(super) fn stat(&self, number: Number) -> u64 {
        let size = match &self.inode(number).node {
            Node::Dir(..) => 0,
            Node::File(bytes) | Node::Link(bytes) => bytes.len(),
        };
        stat_hash(self.kind(number), size as u64, self.inode(number).links)
    }

    /// The names of a directory, with its own two.
    pub(super) fn list(&self, dir: Number) -> Record {
        let own = [(b".".to_vec(), dir), (b"..".to_vec(), self.above(dir))];
        let names = own.into_iter().chain(self.names(dir).clone());
        names.fold(Record::DONE, |sum, (name, number)| Record {
            status: sum.status + 1,
            hash: sum.hash.wrapping_add(name_hash(&name, self.kind(number))),
        })
    }

    /// What is below a directory, but for the files with the results.
    #[must_use]
    pub fn digest(&self, dir: Number) -> Record {
        self.digest_of(dir, 0)
    }

    fn digest_of(&self, dir: Number, above: u64) -> Record {
        let mut sum = Record::DONE;
        for (name, number) in self.names(dir) {
            if dir == ROOT && name.starts_with(b"results") {
                continue;
            }
            let path = path_hash(above, name);
            let contents = match &self.inode(*number).node {
                Node::Dir(..) => 0,
                Node::File(bytes) => Hash::NEW.contents(bytes).value(),
                Node::Link(target) => Hash::NEW.bytes(target).value(),
            };
            let entry = entry_hash(path, self.stat(*number), contents);
            let below = match self.is_dir(*number) {
                true => self.digest_of(*number, path),
                false => Record::DONE,
            };
            sum.status += 1 + below.status;
            sum.hash = sum.hash.wrapping_add(entry).wrapping_add(below.hash);
        }
        sum
    }
}
