using System.Buffers.Binary;
using System.Globalization;

namespace Yarnish.Protocol;

/// <summary>
/// A small file in which a container keeps what it has in hand, so that somebody can tell after a sudden death: eight bytes of magic, then one 64-bit little-endian number per slot, 0 for an idle slot. Written
/// through a memory map, it survives any death of the process. The agent hands the numbers on without knowing what they mean; an executor writes the ids of its running attempts.
/// </summary>
public static class PostMortemPage
{
    /// <summary>Most slots that are read.</summary>
    public const int MaximumSlots = 1024;

    /// <summary>Where the first slot stands.</summary>
    public const int HeaderBytes = 8;

    /// <summary>What the file begins with.</summary>
    public static ReadOnlySpan<byte> Magic => "YARNPM01"u8;

    /// <summary>Bytes of a page with so many slots.</summary>
    public static int LengthOf(int slots) => HeaderBytes + (8 * Math.Clamp(slots, 1, MaximumSlots));

    /// <summary>The numbers in a page, ascending, with blanks between them; null when it is none.</summary>
    public static string? Read(ReadOnlySpan<byte> page)
    {
        if (!page.StartsWith(Magic))
        {
            return null;
        }
        var numbers = new SortedSet<long>();
        page = page[HeaderBytes..];
        for (var slot = 0; slot < MaximumSlots && page.Length >= 8; slot++, page = page[8..])
        {
            var number = BinaryPrimitives.ReadInt64LittleEndian(page);
            if (number > 0)
            {
                numbers.Add(number);
            }
        }
        return string.Join(' ', numbers.Select(static number => number.ToString(CultureInfo.InvariantCulture)));
    }

    /// <summary>What <see cref="Read"/> wrote, as attempts; null when nobody knows.</summary>
    public static IReadOnlyList<TaskAttemptId>? ToAttempts(string? inHand)
    {
        if (inHand is null)
        {
            return null;
        }
        var attempts = new List<TaskAttemptId>();
        foreach (var part in inHand.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            if (!long.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || attempts.Count >= MaximumSlots)
            {
                return null;
            }
            attempts.Add(new TaskAttemptId(number));
        }
        return attempts;
    }
}
