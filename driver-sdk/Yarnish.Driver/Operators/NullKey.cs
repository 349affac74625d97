using System.Runtime.CompilerServices;

namespace Yarnish.Operators;

/// <summary>Refuses keys that are null where rows go into a shuffle, in words of the user rather than of a dictionary.</summary>
internal static class NullKey
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Refuse<TKey>(TKey key)
    {
        if (key is null)
        {
            Throw();
        }
    }

    private static void Throw() => throw new InvalidOperationException("The key of a row is null, and keys are never null. Leave such rows out with Where, or give them a key of their own, such as an empty text.");
}
