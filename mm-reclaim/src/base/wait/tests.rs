//! The sleeping lock with threads for tasks. The fake tasks test again only when they are woken, so
//! a lost wakeup ends in a panic.

use super::{
    ISOLATION_WAIT, KSWAPD_WAIT, NAP_WAIT, PFMEMALLOC_WAIT, REAPER_WAIT, SleepLock, WRITEBACK_WAIT,
};
use crate::base::sync::{AtomicU32, Ordering};
use crate::env::TaskFlags;
use crate::tests::{Asked, TestEnv};

/// A lock has one holder at a time, however many sleep for it, and all of them get it.
#[test]
fn sleepers_get_the_lock_one_at_a_time() {
    let (tasks, rounds) = if cfg!(miri) { (3, 8) } else { (4, 500) };
    let env = TestEnv::new();
    let lock = SleepLock::new(0u32);
    std::thread::scope(|scope| {
        for _ in 0..tasks {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let mut count = lock.lock(&env);
                    let before = *count;
                    std::thread::yield_now();
                    *count = before + 1;
                }
            });
        }
    });
    assert_eq!(*lock.lock(&env), tasks * rounds);
}

/// Readers share the lock; a writer is exclusive, and is not starved by a stream of readers.
#[test]
fn lookers_share_the_lock_and_a_changer_gets_in_between() {
    let rounds = if cfg!(miri) { 8 } else { 500 };
    let env = TestEnv::new();
    let lock = SleepLock::new([0u32; 2]);
    let looking = AtomicU32::new(0);
    let (one, other) = (lock.lock_shared(&env), lock.lock_shared(&env));
    assert!(lock.try_lock(&env).is_none());
    drop((one, other));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while lock.lock_shared(&env)[0] < rounds {
                    let pair = lock.lock_shared(&env);
                    looking.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                    assert_eq!(pair[0], pair[1], "seen half changed");
                    looking.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..rounds {
            let mut pair = lock.lock(&env);
            assert_eq!(looking.load(Ordering::Relaxed), 0);
            pair[0] += 1;
            std::thread::yield_now();
            pair[1] += 1;
        }
    });
}

/// A killed reader gives up and leaves nothing behind.
#[test]
fn a_looker_that_is_killed_gives_up() {
    let env = TestEnv::new();
    let lock = SleepLock::new(0u8);
    let held = lock.lock(&env);
    env.set_flags(TaskFlags::DYING);
    assert!(lock.lock_shared_killable(&env).is_none());
    drop(held);
    assert!(lock.lock_shared_killable(&env).is_some());
}

/// The holder may release the lock long after the sleeper began to wait.
#[test]
fn an_unlock_wakes_who_sleeps() {
    let env = TestEnv::new();
    let lock = SleepLock::new(AtomicU32::new(0));
    std::thread::scope(|scope| {
        let held = lock.lock(&env);
        scope.spawn(|| lock.lock(&env).store(2, Ordering::Relaxed));
        while !lock.inner.has_sleepers() {
            std::thread::yield_now();
        }
        assert_eq!(held.load(Ordering::Relaxed), 0, "the lock was taken from its holder");
        drop(held);
    });
    assert_eq!(lock.lock(&env).load(Ordering::Relaxed), 2);
    assert!(env.take_asked().contains(&Asked::Wake(lock.key())));
}

#[test]
fn an_unlock_without_sleepers_wakes_nobody() {
    let env = TestEnv::new();
    let lock = SleepLock::new(1u8);
    *lock.lock(&env) += 1;
    assert_eq!(*lock.lock(&env), 2);
    assert_eq!(env.take_asked(), []);
}

/// PAGE-01: waits for different things never share a key, with each other or with waits for a page.
#[test]
fn wait_keys_tell_the_sleepers_apart() {
    let keys =
        [KSWAPD_WAIT, PFMEMALLOC_WAIT, NAP_WAIT, WRITEBACK_WAIT, REAPER_WAIT, ISOLATION_WAIT];
    let mut distinct: Vec<u64> = keys.iter().map(|key| key.0).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), keys.len());
    assert!(distinct.iter().all(|key| key >> 62 == 1), "{distinct:x?}");
}
