namespace Yarnish.Simulation;

/// <summary>SplitMix64: the same numbers from the same seed on every machine and every runtime.</summary>
internal sealed class SeededRandom(ulong seed)
{
    private ulong _state = seed;

    public ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    /// <summary>From <paramref name="least"/> to below <paramref name="beyond"/>.</summary>
    public int Between(int least, int beyond) => least + (int)(Next() % (ulong)(beyond - least));

    /// <summary>True so many times in a thousand.</summary>
    public bool Chance(int perMille) => Between(0, 1000) < perMille;

    public T Pick<T>(params ReadOnlySpan<T> choices) => choices[Between(0, choices.Length)];

    /// <summary>A generator of its own for a part of the run, so that leaving out one part does not change the others.</summary>
    public SeededRandom Fork() => new(Next());
}
