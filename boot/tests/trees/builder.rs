//! Writes device tree blobs (version 17), well-formed unless requested otherwise.

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const END: u32 = 9;
const HEADER: usize = 40;

/// A tree that is being written, its root open.
#[derive(Default)]
pub struct Tree {
    reservations: Vec<(u64, u64)>,
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Tree {
    /// The blob of a tree whose root holds what `root` writes.
    pub fn build(root: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut tree = Self::default();
        tree.node("", root);
        tree.word(END);
        tree.blob()
    }

    /// An entry of the `/memreserve/` block; may be called anywhere in the tree.
    pub fn reserve(&mut self, base: u64, size: u64) {
        self.reservations.push((base, size));
    }

    /// A node that holds what `inside` writes: properties first, then nodes.
    pub fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        self.begin(name);
        inside(self);
        self.end();
    }

    /// Opens a node.
    pub fn begin(&mut self, name: &str) {
        self.word(BEGIN_NODE);
        self.structure.extend(name.bytes());
        self.structure.push(0);
        self.pad();
    }

    /// Closes a node.
    pub fn end(&mut self) {
        self.word(END_NODE);
    }

    /// A property.
    pub fn bytes(&mut self, name: &str, value: &[u8]) {
        let name = self.string(name);
        self.bytes_at(name, value);
    }

    /// A property whose name is at the given offset among the strings.
    pub fn bytes_at(&mut self, name: u32, value: &[u8]) {
        self.word(PROPERTY);
        self.word(value.len() as u32);
        self.word(name);
        self.structure.extend(value);
        self.pad();
    }

    /// A property without a value, if `is_set`.
    pub fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.bytes(name, &[]);
        }
    }

    /// A property of 32-bit cells.
    pub fn cells(&mut self, name: &str, cells: &[u32]) {
        self.bytes(name, &cells.iter().flat_map(|cell| cell.to_be_bytes()).collect::<Vec<_>>());
    }

    /// A property that is a string, or several with zeros between them.
    pub fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, format!("{text}\0").as_bytes());
    }

    /// How the children of this node write addresses and sizes.
    pub fn cell_counts(&mut self, address: u32, size: u32) {
        self.cells("#address-cells", &[address]);
        self.cells("#size-cells", &[size]);
    }

    /// A property of pairs, in as many cells as given. Higher bits are cut off.
    pub fn pairs(&mut self, name: &str, address: usize, size: usize, pairs: &[(u64, u64)]) {
        let tail = |number: u64, cells: usize| number.to_be_bytes()[8 - 4 * cells..].to_vec();
        let pair = |&(base, bytes): &(u64, u64)| [tail(base, address), tail(bytes, size)].concat();
        self.bytes(name, &pairs.iter().flat_map(pair).collect::<Vec<_>>());
    }

    /// A memory node.
    pub fn memory(&mut self, name: &str, address: usize, size: usize, ranges: &[(u64, u64)]) {
        self.node(name, |node| {
            node.text("device_type", "memory");
            node.pairs("reg", address, size, ranges);
        });
    }

    fn word(&mut self, word: u32) {
        self.structure.extend(word.to_be_bytes());
    }

    fn pad(&mut self) {
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
    }

    /// The offset of `name` among the strings.
    fn string(&mut self, name: &str) -> u32 {
        let wanted = format!("{name}\0");
        let found = self.strings.windows(wanted.len()).position(|w| w == wanted.as_bytes());
        let at = found.unwrap_or(self.strings.len());
        if found.is_none() {
            self.strings.extend(wanted.bytes());
        }
        at as u32
    }

    fn blob(mut self) -> Vec<u8> {
        self.reservations.push((0, 0));
        let reservations: Vec<u8> = self
            .reservations
            .iter()
            .flat_map(|&(a, b)| [a, b])
            .flat_map(u64::to_be_bytes)
            .collect();
        let structure = HEADER + reservations.len();
        let strings = structure + self.structure.len();
        let total = strings + self.strings.len();
        let sizes = [self.strings.len(), self.structure.len()];
        let header =
            [0xd00d_feed, total, structure, strings, HEADER, 17, 16, 0, sizes[0], sizes[1]];
        let header = header.into_iter().flat_map(|word| (word as u32).to_be_bytes());
        header.chain(reservations).chain(self.structure).chain(self.strings).collect()
    }
}
