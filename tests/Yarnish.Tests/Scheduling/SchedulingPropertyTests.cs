using System.Numerics;
using CsCheck;
using Xunit;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Tests.Scheduling;

/// <summary>Laws of the parts, on random inputs.</summary>
public sealed class SchedulingPropertyTests
{
    [Fact]
    public void Shares_compare_as_exact_fractions()
    {
        var amount = Gen.Long[0, ResourceTypes.Largest * 65_536];
        Gen.Select(amount, amount, amount, amount).Sample((usedA, ofA, usedB, ofB) =>
        {
            static Ratio Of(long used, long of)
            {
                ResourceVector usage = default, guarantee = default;
                (usage[0], guarantee[0]) = (used, Math.Max(1, of));
                return Ratio.OfQueue(usage, guarantee, guarantee, 2);
            }

            var expected = ((BigInteger)usedA * Math.Max(1, ofB)).CompareTo((BigInteger)usedB * Math.Max(1, ofA));
            return Math.Sign(Of(usedA, ofA).CompareTo(Of(usedB, ofB))) == expected;
        });
    }

    [Fact]
    public void The_container_table_is_a_dictionary()
    {
        var step = Gen.Select(Gen.Int[0, 2], Gen.Int[1, 3], Gen.Int[1, 60]);
        step.Array[0, 200].Sample(steps =>
        {
            var table = new ContainerTable();
            var model = new SortedDictionary<ContainerId, Container>();
            foreach (var (what, epoch, sequence) in steps)
            {
                var id = new ContainerId(epoch, sequence * 16);
                if (what == 0)
                {
                    table.Remove(id);
                    model.Remove(id);
                }
                else if (!model.ContainsKey(id))
                {
                    var container = new Container(id, null, null!, Shape.Nothing, 0);
                    table.Add(container);
                    model.Add(id, container);
                }
            }
            return table.Count == model.Count
                && table.Values.Select(static container => container.Id).Order().SequenceEqual(model.Keys)
                && model.All(pair => ReferenceEquals(table[pair.Key], pair.Value));
        });
    }

    [Fact]
    public void A_heap_gives_its_items_in_order_whatever_moved()
    {
        Gen.Select(Gen.Int[0, 50].Array[1, 40], Gen.Select(Gen.Int[0, 39], Gen.Int[0, 50]).Array[0, 60]).Sample((ranks, moves) =>
        {
            var heap = new Heap<Item>();
            var items = ranks.Select(static (rank, number) => new Item { Rank = rank, Number = number }).ToArray();
            foreach (var item in items)
            {
                heap.Add(item);
            }
            foreach (var (which, rank) in moves)
            {
                var item = items[which % items.Length];
                item.Rank = rank;
                if (item.HeapIndex >= 0 && which % 7 == 0)
                {
                    heap.Remove(item);
                }
                else if (item.HeapIndex >= 0)
                {
                    heap.Moved(item);
                }
                else
                {
                    heap.Add(item);
                }
            }
            var expected = items.Where(static item => item.HeapIndex >= 0).OrderBy(static item => (item.Rank, item.Number)).ToArray();
            var actual = new List<Item>();
            while (heap.Count > 0)
            {
                actual.Add(heap.First);
                heap.Remove(heap.First);
            }
            return actual.SequenceEqual(expected);
        });
    }

    private sealed class Item : Ranked<Item>
    {
        public int Rank { get; set; }

        public int Number { get; init; }

        internal override bool Before(Item other) => (Rank, Number).CompareTo((other.Rank, other.Number)) < 0;
    }

    [Fact]
    public void Whatever_is_asked_nothing_exceeds_a_node_and_nothing_that_fits_waits()
    {
        var size = Gen.Select(Gen.Long[1, 8], Gen.Long[1, 8]);
        Gen.Select(size.Array[1, 8], Gen.Select(size, Gen.Int[0, 6]).Array[1, 10]).Sample((nodes, asks) =>
        {
            var cluster = new TestCluster();
            for (var i = 0; i < nodes.Length; i++)
            {
                cluster.Node("n" + i, Resources.Of(nodes[i].Item1 * 1024, nodes[i].Item2));
            }
            for (var i = 0; i < asks.Length; i++)
            {
                cluster.Application("a" + i);
                cluster.Ask("a" + i, TestCluster.Ask(1, Resources.Of(asks[i].Item1.Item1 * 1024, asks[i].Item1.Item2), asks[i].Item2));
            }
            foreach (var application in cluster.Machine.State.Applications)
            {
                foreach (var ask in application.AskList.Where(static ask => ask.Outstanding > 0))
                {
                    foreach (var node in cluster.Machine.State.Nodes.OfType<Node>())
                    {
                        var free = (node.Capacity[0] - node.Allocated[0], node.Capacity[1] - node.Allocated[1]);
                        Assert.False(ask.Shape.Vector[0] <= free.Item1 && ask.Shape.Vector[1] <= free.Item2, "an ask waits that would fit");
                    }
                }
            }
        }, iter: 200);
    }
}
