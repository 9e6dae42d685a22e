//! Boards, as their firmware describes them.

use super::builder::Tree;

/// Where a board's RAM may lie: (base, size).
pub type Ranges<'r> = &'r [(u64, u64)];

/// The memory of a Raspberry Pi 4 with 1 GiB: the GPU keeps the upper 76 MiB.
pub const PI_1_GIB: Ranges<'static> = &[(0, 0x3b40_0000)];
/// With 2 GiB: a hole below 1 GiB for the GPU.
pub const PI_2_GIB: Ranges<'static> = &[(0, 0x3b40_0000), (0x4000_0000, 0x4000_0000)];
/// With 4 GiB: another hole below 4 GiB, for devices.
pub const PI_4_GIB: Ranges<'static> = &[(0, 0x3b40_0000), (0x4000_0000, 0xbc00_0000)];
/// With 8 GiB, in pieces whose sizes have at most 32 bits: two of them touch.
pub const PI_8_GIB: Ranges<'static> = &[
    (0, 0x3b40_0000),
    (0x4000_0000, 0xbc00_0000),
    (0x1_0000_0000, 0x8000_0000),
    (0x1_8000_0000, 0x8000_0000),
];

/// A board with the peculiarities of a Raspberry Pi 4: sizes of one cell, buses that translate
/// addresses, a console that is not a PL011, spin-table CPUs whose page is in `/memreserve/`, and a
/// request for a CMA area without an address.
pub fn raspberry_pi_4(memory: Ranges<'_>) -> Vec<u8> {
    Pi { memory, ..Pi::default() }.tree()
}

/// The parts of a Raspberry Pi 4's tree that tests change.
pub struct Pi<'a> {
    /// The ranges of its memory.
    pub memory: Ranges<'a>,
    /// The command line.
    pub bootargs: &'a str,
    /// The console.
    pub stdout_path: Option<&'a str>,
    /// The range of the initrd: (first address, first beyond).
    pub initrd: Option<(u32, u32)>,
    /// The first PL011's `status`.
    pub pl011_status: &'a str,
    /// The mini-UART's `status`.
    pub mini_status: &'a str,
    /// The window through which the devices reach memory.
    pub dma_window: [u32; 4],
}

impl Default for Pi<'_> {
    fn default() -> Self {
        Self {
            memory: PI_8_GIB,
            bootargs: "coherent_pool=1M vc_mem.mem_size=0x3ec00000 semihosting",
            stdout_path: Some("serial1:115200n8"),
            initrd: Some((0x2eff_0000, 0x2eff_8000)),
            pl011_status: "okay",
            mini_status: "okay",
            dma_window: [0xc000_0000, 0, 0, 0x4000_0000],
        }
    }
}

impl Pi<'_> {
    /// The tree.
    pub fn tree(&self) -> Vec<u8> {
        Tree::build(|root| {
            root.reserve(0, 0x1000);
            root.text("compatible", "raspberrypi,4-model-b\0brcm,bcm2711");
            root.text("model", "Raspberry Pi 4 Model B");
            root.cell_counts(2, 1);
            root.cells("interrupt-parent", &[1]);
            self.choices(root);
            pi_reserved(root);
            root.memory("memory@0", 2, 1, self.memory);
            pi_cpus(root);
            timer(root);
            self.soc(root);
            root.node("scb", |scb| {
                scb.text("compatible", "simple-bus");
                scb.cell_counts(2, 2);
                scb.cells("ranges", &[0, 0x7c00_0000, 0, 0xfc00_0000, 0, 0x0380_0000]);
                scb.cells("dma-ranges", &[0, 0, 0, 0, 4, 0]);
            });
        })
    }

    fn choices(&self, root: &mut Tree) {
        root.node("aliases", |aliases| {
            aliases.text("serial0", "/soc/serial@7e201000");
            aliases.text("serial1", "/soc/serial@7e215040");
        });
        root.node("chosen", |chosen| {
            chosen.text("bootargs", self.bootargs);
            if let Some(path) = self.stdout_path {
                chosen.text("stdout-path", path);
            }
            if let Some((start, end)) = self.initrd {
                chosen.cells("linux,initrd-start", &[start]);
                chosen.cells("linux,initrd-end", &[end]);
            }
        });
    }

    fn soc(&self, root: &mut Tree) {
        root.node("soc", |soc| {
            soc.text("compatible", "simple-bus");
            soc.cell_counts(1, 1);
            let moved = [
                [0x7e00_0000, 0, 0xfe00_0000, 0x0180_0000],
                [0x7c00_0000, 0, 0xfc00_0000, 0x0200_0000],
                [0x4000_0000, 0, 0xff80_0000, 0x0080_0000],
            ];
            soc.cells("ranges", moved.as_flattened());
            soc.cells("dma-ranges", &self.dma_window);
            self.uarts(soc);
            pi_devices(soc);
        });
    }

    fn uarts(&self, soc: &mut Tree) {
        soc.node("serial@7e201000", |uart| {
            uart.text("compatible", "arm,pl011\0arm,primecell");
            uart.cells("reg", &[0x7e20_1000, 0x200]);
            uart.cells("clocks", &[7, 19, 7, 20]);
            uart.text("status", self.pl011_status);
            uart.node("bluetooth", |chip| chip.text("compatible", "brcm,bcm43438-bt"));
        });
        soc.node("serial@7e215040", |uart| {
            uart.text("compatible", "brcm,bcm2835-aux-uart");
            uart.cells("reg", &[0x7e21_5040, 0x40]);
            uart.text("status", self.mini_status);
        });
        soc.node("serial@7e201400", |uart| {
            uart.text("compatible", "arm,pl011\0arm,primecell");
            uart.cells("reg", &[0x7e20_1400, 0x200]);
            uart.text("status", "disabled");
        });
    }
}

fn pi_devices(soc: &mut Tree) {
    soc.node("gpio@7e200000", |gpio| {
        gpio.text("compatible", "brcm,bcm2711-gpio");
        gpio.cells("reg", &[0x7e20_0000, 0xb4]);
    });
    soc.node("watchdog@7e100000", |power| {
        power.text("compatible", "brcm,bcm2711-pm\0brcm,bcm2835-pm-wdt");
        power.cells("reg", &[0x7e10_0000, 0x114, 0x7e00_a000, 0x24]);
    });
    soc.node("interrupt-controller@40041000", |gic| {
        gic.text("compatible", "arm,gic-400");
        gic.bytes("interrupt-controller", &[]);
        gic.cells("#interrupt-cells", &[3]);
        gic.cells("reg", &[0x4004_1000, 0x1000, 0x4004_2000, 0x2000]);
        gic.cells("phandle", &[1]);
    });
}

fn pi_reserved(root: &mut Tree) {
    root.node("reserved-memory", |parent| {
        parent.cell_counts(2, 1);
        parent.bytes("ranges", &[]);
        parent.node("linux,cma", |cma| {
            cma.text("compatible", "shared-dma-pool");
            cma.cells("size", &[0x0400_0000]);
            cma.bytes("reusable", &[]);
            cma.bytes("linux,cma-default", &[]);
            cma.cells("alloc-ranges", &[0, 0, 0x4000_0000]);
        });
        parent.node("nvram@0", |nvram| {
            nvram.pairs("reg", 2, 1, &[(0, 0)]);
            nvram.bytes("no-map", &[]);
            nvram.text("status", "disabled");
        });
        parent.node("secure@1000000", |secure| {
            secure.pairs("reg", 2, 1, &[(0x0100_0000, 0x20_0000)]);
            secure.bytes("no-map", &[]);
        });
    });
}

fn pi_cpus(root: &mut Tree) {
    root.node("cpus", |cpus| {
        cpus.cell_counts(1, 0);
        for number in 0..4 {
            cpus.node(&format!("cpu@{number}"), |cpu| {
                cpu.text("device_type", "cpu");
                cpu.text("compatible", "arm,cortex-a72");
                cpu.cells("reg", &[number]);
                cpu.text("enable-method", "spin-table");
                cpu.cells("cpu-release-addr", &[0, 0xd8 + 8 * number]);
            });
        }
    });
}

fn timer(root: &mut Tree) {
    root.node("timer", |timer| {
        timer.text("compatible", "arm,armv8-timer");
        timer.cells("interrupts", &[1, 13, 0xf08, 1, 14, 0xf08, 1, 11, 0xf08, 1, 10, 0xf08]);
    });
}

/// QEMU's `virt` board with a memory node for each of `nodes`, the given command line, and what
/// `more` adds below the root. Addresses and sizes have two cells.
pub fn virt(bootargs: &str, nodes: &[Ranges<'_>], more: impl FnOnce(&mut Tree)) -> Vec<u8> {
    Tree::build(|root| {
        root.text("model", "virt, made up");
        root.cell_counts(2, 2);
        root.node("chosen", |chosen| {
            chosen.text("bootargs", bootargs);
            chosen.text("stdout-path", "/pl011@9000000");
        });
        for (number, ranges) in nodes.iter().enumerate() {
            let base = ranges.first().map_or(number as u64, |range| range.0);
            root.memory(&format!("memory@{base:x}"), 2, 2, ranges);
        }
        virt_devices(root);
        more(root);
    })
}

/// What `virt` has besides memory and the command line, with a GICv2.
pub fn virt_devices(root: &mut Tree) {
    virt_without_gic(root);
    root.node("intc@8000000", |gic| {
        gic.text("compatible", "arm,cortex-a15-gic");
        gic.pairs("reg", 2, 2, &[(0x0800_0000, 0x1_0000), (0x0801_0000, 0x1_0000)]);
    });
}

/// The same with a GICv3.
pub fn virt_devices_v3(root: &mut Tree) {
    virt_without_gic(root);
    root.node("intc@8000000", |gic| {
        gic.text("compatible", "arm,gic-v3");
        gic.pairs("reg", 2, 2, &[(0x0800_0000, 0x1_0000), (0x080a_0000, 0xf6_0000)]);
    });
}

fn virt_without_gic(root: &mut Tree) {
    timer(root);
    root.node("psci", |psci| {
        psci.text("compatible", "arm,psci-1.0\0arm,psci-0.2\0arm,psci");
        psci.text("method", "hvc");
    });
    root.node("pl011@9000000", |uart| {
        uart.text("compatible", "arm,pl011\0arm,primecell");
        uart.pairs("reg", 2, 2, &[(0x0900_0000, 0x1000)]);
    });
}
