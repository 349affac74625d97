using CsCheck;
using Yarnish.Transport;
using Xunit;

namespace Yarnish.Tests.Transport;

public sealed class ConfirmWindowTests
{
    private readonly List<string> settled = [];

    private ConfirmWindow Window(int capacity = 8, long bytes = 1000) =>
        new(capacity, bytes, (state, taken) => settled.Add($"{state}{(taken ? "+" : "-")}"), state => settled.Add($"{state}?"));

    [Fact]
    public void A_confirm_settles_its_message_and_multiple_all_up_to_it()
    {
        var window = Window();
        foreach (var name in "abcd")
        {
            window.Add(1, name);
        }

        window.Settle(2, multiple: false, taken: true);
        window.Settle(3, multiple: true, taken: true);
        window.Settle(4, multiple: false, taken: false);

        Assert.Equal(["b+", "a+", "c+", "d-"], settled);
        Assert.Equal(0, window.Outstanding);
    }

    [Fact]
    public void Repeated_late_and_foreign_confirms_change_nothing()
    {
        var window = Window();
        window.Add(1, "a");
        window.Settle(1, false, true);
        window.Settle(1, false, true);
        window.Settle(0, true, true);
        window.Settle(99, true, true);

        Assert.Equal(["a+"], settled);
    }

    [Fact]
    public async Task A_full_window_waits_for_a_confirm()
    {
        var window = Window(capacity: 2);
        window.Add(1, "a");
        window.Add(1, "b");
        var room = window.WaitForRoomAsync(1);
        Assert.False(room.IsCompleted);

        // Out of order: the ring is free only from its lowest message.
        window.Settle(2, false, true);
        Assert.False(room.IsCompleted);
        window.Settle(1, false, true);

        Assert.True(await room);
    }

    [Fact]
    public async Task Bytes_are_bounded_but_a_large_message_alone_may_pass()
    {
        var window = Window(bytes: 10);
        Assert.True(await window.WaitForRoomAsync(500));
        window.Add(500, "large");
        var room = window.WaitForRoomAsync(1);
        Assert.False(room.IsCompleted);

        window.Settle(1, false, true);

        Assert.True(await room);
    }

    [Fact]
    public async Task Closing_tells_every_outstanding_message_and_the_one_who_waits()
    {
        var window = Window(capacity: 2);
        window.Add(1, "a");
        window.Add(1, "b");
        var room = window.WaitForRoomAsync(1);

        window.Close();
        window.Settle(1, false, true);

        Assert.False(await room);
        Assert.False(await window.WaitForRoomAsync(1));
        Assert.Equal(["a?", "b?"], settled);
    }

    [Fact]
    public void Every_message_is_settled_exactly_once_whatever_the_order_of_confirms() => Gen.Select(Gen.Int[1, 40], Gen.Select(Gen.Int[1, 40], Gen.Bool, Gen.Bool).List[0, 60]).Sample(
        (count, confirms) =>
        {
            var times = new int[count + 1];
            var window = new ConfirmWindow(64, long.MaxValue, (state, _) => times[(int)state!]++, state => times[(int)state!]++);
            for (var i = 1; i <= count; i++)
            {
                Assert.Equal((ulong)i, window.Add(1, i));
            }
            foreach (var (tag, multiple, taken) in confirms)
            {
                window.Settle((ulong)tag, multiple, taken);
            }
            window.Close();
            Assert.All(times.Skip(1), time => Assert.Equal(1, time));
        });
}
