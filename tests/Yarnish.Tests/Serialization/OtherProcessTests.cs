using System.Reflection;
using System.Runtime.Loader;
using Xunit;
using Yarnish.Serialization;

namespace Yarnish.Tests.Serialization;

/// <summary>A second copy of every assembly stands for the other process: same files, other types, other static state.</summary>
public sealed class OtherProcessTests
{
    private sealed class Twin : AssemblyLoadContext
    {
        private static readonly string Folder = Path.GetDirectoryName(typeof(OtherProcessTests).Assembly.Location)!;

        public Assembly Tests => LoadFromAssemblyPath(typeof(OtherProcessTests).Assembly.Location);

        protected override Assembly? Load(AssemblyName assemblyName)
        {
            var path = Path.Combine(Folder, assemblyName.Name + ".dll");
            return assemblyName.Name!.StartsWith("Yarnish.", StringComparison.Ordinal) && File.Exists(path) ? LoadFromAssemblyPath(path) : null;
        }
    }

    internal sealed record Word(string Text, int Count);

    /// <summary>Runs there.</summary>
    internal static string Run(byte[] code)
    {
        var function = ClosureSerializer.Deserialize<Func<string, string>>(code);
        return function("the word");
    }

    internal static byte[] Make(string suffix)
    {
        var limits = new Dictionary<string, Word>(StringComparer.OrdinalIgnoreCase) { ["WORD"] = new("found", 3) };
        var items = new[] { new Word("a", 1), new Word("b", 2) };
        Func<string, string> function = line =>
        {
            var total = items.Where(item => item.Count > 0).Sum(item => item.Count * limits["word"].Count);
            return $"{line} {total} {suffix} {limits["Word"].Text} {AssemblyLoadContext.GetLoadContext(typeof(Word).Assembly)!.GetType().Name}";
        };
        return ClosureSerializer.Serialize(function, "Test").Bytes.ToArray();
    }

    private static object Call(Twin twin, string method, params object[] arguments) => twin.Tests.GetType(typeof(OtherProcessTests).FullName!)!
        .GetMethod(method, BindingFlags.Static | BindingFlags.NonPublic)!.Invoke(null, arguments)!;

    [Fact]
    public void A_function_made_here_runs_there()
    {
        Assert.Equal("the word 9 here found Twin", Call(new Twin(), nameof(Run), Make("here")));
        Assert.Equal("the word 9 here found DefaultAssemblyLoadContext", Run(Make("here")));
    }

    [Fact]
    public void Both_sides_write_the_same_bytes() => Assert.Equal(Make("same"), (byte[])Call(new Twin(), nameof(Make), "same"));

    internal static ulong[] Hashes() => [StableHash.Of("text"), StableHash.Of(("a", 1)), StableHash.Of(new Word("a", 2)), StableHash.Of<int[]>([1, 2]), StableHash.Of(DayOfWeek.Friday)];

    [Fact]
    public void Both_sides_hash_the_same() => Assert.Equal(Hashes(), (ulong[])Call(new Twin(), nameof(Hashes)));

    internal static byte[] Rows()
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        RowFormats.For<Word>().Write(output, new("x", 7));
        return output.WrittenSpan.ToArray();
    }

    internal static string Row(byte[] bytes) => RowFormats.For<Word>().Read(bytes).Single().ToString();

    [Fact]
    public void Rows_written_here_are_read_there() => Assert.Equal("Word { Text = x, Count = 7 }", Call(new Twin(), nameof(Row), Rows()));
}
