//! The call of kswapd in one word, and its pace.

use super::{Call, batches_in_a_row};
use crate::base::units::Order;
use crate::zone::ZoneId;

/// CTRL-01: encoding keeps a call, and its word is never zero; a class beyond the last decodes as
/// the highest.
#[test]
fn a_call_survives_its_word() {
    for class in ZoneId::ALL {
        for order in Order::all() {
            let call = Call { order, class };
            assert_ne!(call.encode(), 0);
            assert_eq!(Call::decode(call.encode()), Some(call));
        }
    }
    assert_eq!(Call::decode(0), None, "there is no call");
    let beyond = Call::decode(9 << 8).map(|call| call.class);
    assert_eq!(beyond, Some(ZoneId::Normal));
}

/// CTRL-01: two calls become one that serves both.
#[test]
fn two_calls_join_to_one_that_serves_both() {
    let call = |order, class| Call { order: Order::new(order).expect("an order"), class };
    let (wide, deep) = (call(3, ZoneId::Dma), call(0, ZoneId::Normal));
    assert_eq!(wide.join(deep), call(3, ZoneId::Normal));
    assert_eq!(deep.join(wide), call(3, ZoneId::Normal));
}

/// CTRL-06: the nearer free memory is to MIN, the longer kswapd keeps at it.
#[test]
fn kswapd_does_more_in_a_row_the_less_is_free() {
    let (low, min) = (125, 100);
    let table = [(200, Some(1)), (125, Some(1)), (124, Some(1)), (118, Some(2)), (112, Some(3))];
    for (free, want) in table.into_iter().chain([(101, Some(4)), (100, Some(5)), (99, None)]) {
        assert_eq!(batches_in_a_row(free, low, min), want, "{free} free");
    }
    assert_eq!(batches_in_a_row(0, 0, 0), Some(1), "an empty zone");
}
