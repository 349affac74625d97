using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

/// <summary>Which rows may be handed from task to task as they are.</summary>
public sealed class RowSharingTests
{
    [Fact]
    public void Rows_that_nobody_can_change_are_shared()
    {
        Assert.True(RowSharing<int>.IsPossible);
        Assert.True(RowSharing<string>.IsPossible);
        Assert.True(RowSharing<DayOfWeek?>.IsPossible);
        Assert.True(RowSharing<KeyValuePair<string, long>>.IsPossible);
        Assert.True(RowSharing<(int, (DateTime, decimal?), string)>.IsPossible);
        Assert.True(RowSharing<Order>.IsPossible);
        Assert.True(RowSharing<KeyValuePair<int, Order>>.IsPossible);
        Assert.True(RowSharing<Place>.IsPossible);
    }

    [Fact]
    public void Rows_that_somebody_could_change_are_not()
    {
        Assert.False(RowSharing<int[]>.IsPossible);
        Assert.False(RowSharing<List<int>>.IsPossible);
        Assert.False(RowSharing<KeyValuePair<int, int[]>>.IsPossible);
        Assert.False(RowSharing<IReadOnlyList<int>>.IsPossible);
        Assert.False(RowSharing<Changing>.IsPossible);
        Assert.False(RowSharing<Holding>.IsPossible);
        Assert.False(RowSharing<Derived>.IsPossible);
        Assert.False(RowSharing<System.Text.StringBuilder>.IsPossible);
        Assert.False(RowSharing<Tuple<int, string>>.IsPossible);
    }

    [Fact]
    public void Rows_with_members_that_do_not_travel_or_that_hold_their_own_type_are_not() =>
        Assert.Equal((false, false), (RowSharing<Transient>.IsPossible, RowSharing<Node>.IsPossible));

    [Fact]
    public void An_object_of_a_derived_type_is_told_apart_wherever_it_is()
    {
        Assert.Null(RowSharing<Order>.IsExact);
        var isExact = RowSharing<KeyValuePair<int, (Person?, string)>>.IsExact!;

        Assert.True(isExact(new(1, (new Person("a"), "b"))));
        Assert.True(isExact(new(1, (null, "b"))));
        Assert.False(isExact(new(1, (new Changeable("a"), "b"))));
    }

    private sealed record Order(int Id, string Customer, Place From);

    private readonly record struct Place(double Latitude, double Longitude);

    private record Person(string Name);

    private sealed record Changeable(string Name) : Person(Name)
    {
        public int Age { get; set; }
    }

    private sealed class Changing
    {
        public int Value { get; set; }
    }

    private sealed record Holding(Changing Changing);

    private class Base
    {
        public int Value = 1;
    }

    private sealed class Derived : Base
    {
        public readonly int Other = 1;
    }

    private sealed record Transient(int Id, [property: YarnishTransient] string Secret);

    private sealed record Node(int Value, Node? Next);
}
