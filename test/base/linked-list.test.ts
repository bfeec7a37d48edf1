import { describe, expect, it } from 'vitest';
import { LinkedList } from '../../src/base/linked-list.js';

describe('a linked list', () => {
  it('has its values in the order in which they came', () => {
    const list = new LinkedList<string>();
    for (const value of ['a', 'b', 'c']) list.push(value);
    expect([...list]).toEqual(['a', 'b', 'c']);
    expect(list.size).toBe(3);
  });

  it.each([
    [0, 'bcd'],
    [1, 'acd'],
    [3, 'abc'],
  ])('closes the gap where the value at %i is taken out', (at, left) => {
    const list = new LinkedList<string>();
    const places = [...'abcd'].map((value) => list.push(value));
    list.remove(places[at] as (typeof places)[number]);
    expect([...list].join('')).toBe(left);
    list.push('e');
    expect([...list].join('')).toBe(`${left}e`);
    expect(list.size).toBe(4);
  });

  it('takes a value out once', () => {
    const list = new LinkedList<string>();
    const place = list.push('a');
    list.push('b');
    list.remove(place);
    list.remove(place);
    expect([...list]).toEqual(['b']);
    expect(list.size).toBe(1);
  });

  it('gives all of them away, and begins anew', () => {
    const list = new LinkedList<string>();
    const places = [...'ab'].map((value) => list.push(value));
    expect(list.takeAll()).toEqual(['a', 'b']);
    list.push('c');
    for (const place of places) list.remove(place);
    expect([...list]).toEqual(['c']);
  });

  it('finds the newest of those that match', () => {
    const list = new LinkedList<number>();
    for (const value of [1, 2, 3, 4]) list.push(value);
    expect(list.findLast((value) => value % 2 === 1)).toBe(3);
    expect(list.findLast((value) => value > 4)).toBeUndefined();
  });

  it('refers to nothing from a place that was taken out', () => {
    const list = new LinkedList<number>();
    const [, second] = [1, 2, 3].map((value) => list.push(value));
    if (second) list.remove(second);
    expect([second?.before, second?.after]).toEqual([undefined, undefined]);
  });
});
