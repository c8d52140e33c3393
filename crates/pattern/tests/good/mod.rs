//! A pattern file without a finding, from which others are made.

pub const GOOD: &str = "pattern: quiet-cart
version: 1
title: A cart is left
owner: cx-web
status: live
when:
  within: 30m
  sequence:
    - see: cart.product_added
      where: has(event.value) && event.value >= 80.0
    - absent: order.completed
      for: 20m
then: { intervene: notify, channels: [email], priority: 10, valid_for: 1h, cancel_on: [order.completed], because: { en: left } }
guard: { consent: service, cooldown: 1d, quiet_hours: 22:00-07:00 }
rollout: { percent: 100, holdout: 10, seed: quiet-cart-1 }
tests:
  - { name: leaves, given: [ { at: 0s, is: cart.product_added, value: 90.0 } ], expect: [ { at: 20m, intervene: notify } ] }
  - { name: buys, given: [ { at: 0s, is: cart.product_added, value: 90.0 }, { at: 1m, is: order.completed } ], expect: [] }
";
