using Xunit;
using Yarnish.Blocks;
using Yarnish.Protocol;

namespace Yarnish.Tests.Blocks;

public sealed class SizeClassesTests
{
    [Fact]
    public void Up_to_two_thousand_reducers_each_part_has_its_byte()
    {
        byte[] classes = [.. Enumerable.Range(0, 2000).Select(reducer => (byte)(reducer % 256))];

        var packed = SizeClasses.Pack(classes);

        Assert.Equal(classes, packed);
        Assert.All(Enumerable.Range(0, 2000), reducer => Assert.Equal(classes[reducer], SizeClasses.At(packed, reducer, 2000)));
    }

    [Fact]
    public void Beyond_the_average_stands_for_all_but_the_huge()
    {
        var classes = new byte[10_000];
        Array.Fill(classes, SizeClasses.Of(1000));
        (classes[17], classes[9_999], classes[5]) = (SizeClasses.Of(1L << 30), SizeClasses.Of(1L << 28), 0);

        var packed = SizeClasses.Pack(classes);

        Assert.Equal(11, packed.Length);
        Assert.Equal((classes[17], classes[9_999]), (SizeClasses.At(packed, 17, 10_000), SizeClasses.At(packed, 9_999, 10_000)));
        // Never 0, which would mean that nothing is there.
        Assert.InRange(SizeClasses.ToBytes(SizeClasses.At(packed, 5, 10_000)), 1, 1L << 20);
        Assert.True(SizeClasses.Fits(packed.Length, 10_000));
        Assert.Equal([0], SizeClasses.Pack(new byte[10_000]));
    }

    [Fact]
    public void Most_huge_parts_are_told_and_no_more_than_thirty_two()
    {
        var classes = new byte[5_000];
        Array.Fill(classes, (byte)1);
        for (var i = 0; i < 100; i++)
        {
            classes[i * 7] = (byte)(100 + i);
        }

        var packed = SizeClasses.Pack(classes);

        Assert.Equal(161, packed.Length);
        Assert.Equal(199, SizeClasses.At(packed, 99 * 7, 5_000));
        Assert.True(SizeClasses.Fits(packed.Length, 5_000));
    }

    [Fact]
    public void Locations_of_ten_thousand_by_ten_thousand_take_megabytes_not_gigabytes()
    {
        var shuffle = new ShuffleId(0);
        var classes = new byte[10_000];
        Array.Fill(classes, (byte)50);
        classes[123] = 200;
        var packed = SizeClasses.Pack(classes);
        var outputs = Enumerable.Range(0, 10_000).Select(map => new MapOutput(shuffle, map, new TaskAttemptId(map), new NodeId("n1"), "http://n1", packed)).ToArray();

        var locations = ShuffleLocations.Unpack(ShuffleLocations.From(shuffle, 1, outputs, reducers: 10_000).Pack());

        Assert.Equal((10_000, 10_000), (locations.MapPartitions, locations.Reducers));
        Assert.Equal(200, locations.SizeClass(9_999, 123));
        Assert.InRange(locations.BytesOf(7), 10_000 * SizeClasses.ToBytes(40), 10_000 * SizeClasses.ToBytes(60));
        Assert.True(locations.Pack().Length < 1 << 20);
    }

    [Fact]
    public void A_part_that_is_empty_though_nobody_said_so_reads_as_nothing()
    {
        using var blocks = new TemporaryBlocks();
        var output = blocks.Write(TemporaryBlocks.Output(0), reducers: 2_500, [(7, new byte[] { 1, 2, 3 }), (2_499, new byte[] { 4 })], memory: 1 << 20);
        var locations = ShuffleLocations.From(new ShuffleId(0), 1, [output with { SizeClasses = SizeClasses.Pack(output.SizeClasses.Span) }], 2_500);

        Assert.Equal([1, 2, 3], blocks.Read(locations, 7)[0]);
        Assert.Equal([4], blocks.Read(locations, 2_499)[0]);
        Assert.Empty(blocks.Read(locations, 8).GetValueOrDefault(0, []));
    }
}
