using System.Diagnostics;
using System.Globalization;

namespace Yarnish.Integration.Tests.Chaos;

/// <summary>
/// A folder that a test and the functions it sends to executors share: a gate at which tasks wait, so that "in the middle" is a fact and not a race; budgets of faults as token files, taken
/// atomically, so that a fault happens exactly so often whoever gets there first; and a record of every run of a function. Functions capture <see cref="Path"/> and call the static methods.
/// </summary>
internal sealed class Field : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("yarnish-field-");

    public Field()
    {
        foreach (var part in new[] { "waiting", "tokens", "runs" })
        {
            directory.CreateSubdirectory(part);
        }
    }

    /// <summary>What functions capture.</summary>
    public string Path => directory.FullName;

    // ---- the gate ---------------------------------------------------------------------------------------------------

    /// <summary>Process ids of the executors that have tasks at the gate.</summary>
    public int[] Waiting => [.. Directory.EnumerateFiles(In(Path, "waiting")).Select(file => int.Parse(System.IO.Path.GetFileName(file), CultureInfo.InvariantCulture)).Order()];

    /// <summary>Lets all pass, now and later.</summary>
    public void Open() => File.WriteAllText(In(Path, "open"), "");

    /// <summary>In an executor: says that it is there and waits.</summary>
    public static void Wait(string field)
    {
        File.WriteAllText(In(field, "waiting", Self), "");
        while (!File.Exists(In(field, "open")) && Directory.Exists(field))
        {
            Thread.Sleep(10);
        }
    }

    // ---- faults -----------------------------------------------------------------------------------------------------

    /// <summary>Allows a fault so often.</summary>
    public void Allow(string fault, int times)
    {
        for (var i = 0; i < times; i++)
        {
            File.WriteAllText(In(Path, "tokens", string.Create(CultureInfo.InvariantCulture, $"{fault}~{i}")), "");
        }
    }

    /// <summary>Processes that took a token of a fault.</summary>
    public int[] Took(string fault) =>
        [.. Directory.EnumerateFiles(In(Path, "tokens"), fault + "~*.taken-*").Select(file => int.Parse(file[(file.LastIndexOf('-') + 1)..], CultureInfo.InvariantCulture)).Order()];

    /// <summary>In an executor: SIGKILL to itself when the budget is not spent.</summary>
    public static void DieOf(string field, string fault)
    {
        foreach (var token in Directory.GetFiles(In(field, "tokens"), fault + "~*").Where(static file => !file.Contains(".taken-", StringComparison.Ordinal)))
        {
            try
            {
                File.Move(token, $"{token}.taken-{Self}");
            }
            catch (FileNotFoundException)
            {
                continue; // Another was faster.
            }
            Process.GetCurrentProcess().Kill();
            Thread.Sleep(Timeout.Infinite);
        }
    }

    // ---- the record -------------------------------------------------------------------------------------------------

    /// <summary>Every start of a piece of work: which, and in which process.</summary>
    public (string Work, int Process)[] Runs =>
        [.. Directory.EnumerateFiles(In(Path, "runs")).Select(static file => System.IO.Path.GetFileName(file).Split('~')).Select(static parts => (parts[0], int.Parse(parts[1], CultureInfo.InvariantCulture)))];

    /// <summary>In an executor: notes that a piece of work starts here.</summary>
    public static void Note(string field, string work) => File.WriteAllText(In(field, "runs", $"{work}~{Self}~{Guid.NewGuid():n}"), "");

    public void Dispose()
    {
        // Whoever still waits must not wait for ever.
        Open();
        directory.Delete(recursive: true);
    }

    private static string Self => Environment.ProcessId.ToString(CultureInfo.InvariantCulture);

    private static string In(params string[] parts) => System.IO.Path.Combine(parts);
}
