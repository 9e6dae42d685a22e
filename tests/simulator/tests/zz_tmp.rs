//! tmp
use mm_reclaim::advice::Advice;
use mm_reclaim::units::Vpn;
use simulator::{Config, DiskConfig, Machine, Program};
#[test]
fn stress() {
    let from: u64 = std::env::var("SEED").unwrap().parse().unwrap();
    let to: u64 = std::env::var("TO").unwrap().parse().unwrap();
    let start = std::time::Instant::now();
    for seed in from..to {
        let mut config = Config::seeded(seed);
        config.hardware.cpus = 1 + (seed % 4) as usize;
        config.hardware.preempt_every = [5, 50, 500][(seed % 3) as usize];
        config.hardware.sets_flags = seed % 2 == 0;
        let blocks = if seed % 5 == 0 { 1500 } else { 16 << 10 };
        config.hardware.disks = vec![DiskConfig::later(blocks), if seed % 7 == 0 { DiskConfig::sync(512) } else { DiskConfig::later(512) }];
        config.hardware.disks[0].fail_write = if seed % 11 == 0 { 13 } else { 0 };
        let r = std::panic::catch_unwind(|| Machine::run(&config, |machine| {
            machine.crowd(4, |machine, i| {
                let mut rng = simulator::rng::Rng::new(seed * 10 + i as u64);
                let mut program = Program::new(machine);
                let area = program.map(1500);
                let mut kids: Vec<Program> = Vec::new();
                for _ in 0..6000 {
                    let page = Vpn(area.start.0 + rng.below(1500) as u32);
                    let who = if kids.is_empty() || rng.below(2) == 0 { &mut program } else { let n = kids.len() as u64; &mut kids[rng.below(n) as usize] };
                    let dead = match rng.below(1000) {
                        0..500 => who.write(page).is_err(),
                        500..985 => who.check(page).is_err(),
                        985..988 => { if seed % 5 != 0 && let Ok(k) = who.fork() { if kids.len() < 2 { kids.push(k) } } false }
                        988..990 => { kids.pop(); false }
                        990..994 => { let end = Vpn((page.0 + 64).min(area.end.0)); let _ = who.advise(page..end, Advice::PageOut); false }
                        994..997 => { let end = Vpn((page.0 + 64).min(area.end.0)); let _ = who.advise(page..end, Advice::Cold); false }
                        _ => { let end = Vpn((page.0 + 64).min(area.end.0)); let _ = who.advise(page..end, Advice::DontNeed); false }
                    };
                    if dead { return; }
                }
            });
            machine.validate();
            (machine.mm.event(mm_reclaim::stat::VmEvent::OomKill), machine.world.disks.stat(simulator::FIRST_DISK), machine.world.sched.switches())
        }));
        match r { Ok(x) => if seed % 10 == 0 {println!("seed {seed} {x:?} {:?}", start.elapsed())}, Err(e) => {
            let m = e.downcast_ref::<String>().cloned().unwrap_or_else(|| e.downcast_ref::<&str>().map(|s| s.to_string()).unwrap_or_default());
            println!("FAIL {seed}: {}", &m[..m.len().min(600)]);} }
    }
}
